/* placement: the choice of a device for a job, and the reason why a job waits. Pure functions
 * over a snapshot of the devices. scheduler.c calls placement_look on its thread; job_run.c
 * calls placement_continues and placement_provenance on a worker thread.
 *
 * A job may start on a device when no obstacle is in its way. Every obstacle has a sentence,
 * which a waiting job shows. The order of the jobs is not decided here (fair.h). */
#ifndef TOKENFATE_PLACEMENT_H
#define TOKENFATE_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "config/reason.h"
#include "db/jobs.h"
#include "server/queue/capacity.h"
#include "server/queue/trainer_process.h"

enum {
    PLACEMENT_WAITS_MAX = REASON_MAX,
    PLACEMENT_WHY_MAX = 340, /* bytes of its part after the device's name */
    PLACEMENT_REFUSALS = 16  /* remembered refusals of one device */
};

/* Facts that determine the bits of a training run besides its spec. The build comes from a
 * trainer's `hello`, the rest from the first `started` of a device. Unknown facts are empty
 * ("", 0 threads). */
struct placement_facts {
    char device[128], isa[64], build[128];
    int64_t threads;
};

/* Refusal: a job that went back to the queue and is not tried on this device for a while. */
struct placement_refusal {
    char job[DB_ID_MAX]; /* "" = none */
    int attempt;         /* of the job: a retry is another attempt, which is not refused */
    enum reason_code code;
    char why[PLACEMENT_WHY_MAX];
};

struct placement_device {
    struct trainer_device device;
    struct placement_facts facts;
    struct capacity capacity; /* its seats, cores and memory */
    int job_threads;          /* of a job that names no number */
    char unproved[320];       /* why a GPU may not be used (slot_proof.h); "" = it may */
    int is_proving;           /* that will be known soon */
    struct placement_refusal refusals[PLACEMENT_REFUSALS];
};

/* Provenance, stored with a job at its first start: facts, host, precision, the id of the device's
 * proof ("": none) and the text's SHA-256 as JSON (malloc). NULL without memory. */
char *placement_provenance(const struct placement_facts *facts, const char *precision,
                           const char *proof, const char *corpus_sha256);

/* 1 if a job can continue with the same bits where these facts hold and it is computed in
 * `precision` ("": unknown before the start): they equal its provenance, if it has one. Unknown
 * facts count as equal. Else 0, and why[size] names the difference. */
int placement_continues(const struct job *job, const struct placement_facts *facts,
                        const char *precision, char *why, size_t size);

/* Compute threads of a job on a device, 0: they are not counted there. Those of its provenance, so
 * that settings that change later change no bits. */
int placement_threads(const struct job *job, const struct placement_device *device);

/* Where a queued job can run, and why it does not. */
struct placement_look {
    uint32_t devices; /* bits of the devices on which it can run once there is room */
    uint32_t full;    /* those of them that have no room now */
    int stale;        /* device whose free memory, as last read, is too small, or -1 */
    int is_its_own;   /* without devices, 1: other jobs for the same device may have some */
    enum reason_code code;
    char waits[PLACEMENT_WAITS_MAX]; /* the obstacle on the device that is nearest to taking it */
};
void placement_look(const struct job *job, const struct placement_device *devices, int n,
                    struct placement_look *out);

/* Kind of the devices on which a job for this device can run, "" if there is none. `auto` means a
 * GPU if one is available, busy or not, or is being proved; else the CPU. */
const char *placement_kind(const char *device, const struct placement_device *devices, int n);

#endif
