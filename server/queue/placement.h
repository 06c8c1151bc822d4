/* placement: which job runs where, and why the others wait. Pure decisions over
 * a snapshot of the device slots: a table of obstacles, each with the sentence
 * that a waiting job shows. The thread that calls it is scheduler.c's. */
#ifndef TOKENFATE_PLACEMENT_H
#define TOKENFATE_PLACEMENT_H

#include <stddef.h>

#include "db/jobs.h"
#include "server/queue/trainer_process.h"

enum {
    PLACEMENT_WAITS_MAX = 400, /* bytes of a sentence, with its zero */
    PLACEMENT_WHY_MAX = 340,   /* of the part of it that says why, behind the device */
    PLACEMENT_REFUSALS = 16    /* of one device, remembered at a time */
};

/* What the bits of a training run depend on besides its spec. The build is known
 * from a trainer's hello, the rest from the first `started` of a device; what is
 * not known yet is empty ("", 0 threads). */
struct placement_facts {
    char device[128], isa[64], build[128];
    int64_t threads;
};

/* A job that a device's trainer has sent back, until it may be tried again. */
struct placement_refusal {
    char job[DB_ID_MAX]; /* "" = none */
    int attempt;         /* of the job: a retry starts it anew */
    char why[PLACEMENT_WHY_MAX];
};

struct placement_slot {
    struct trainer_device device;
    struct placement_facts facts;
    char job[DB_ID_MAX]; /* runs on it, or is about to; "" = idle */
    int is_open;         /* a trainer of ours holds it, and told of its free memory */
    struct placement_refusal refusals[PLACEMENT_REFUSALS];
};

/* Stored with a job at its first start, JSON in malloc'ed memory: facts, host,
 * precision and the text's address. NULL without memory. */
char *placement_provenance(const struct placement_facts *facts, const char *precision,
                           const char *corpus_sha256);

/* 1 if a job, with its provenance if it was started before, can go on with the same
 * bits where these facts hold and `precision` ("": not known before it starts) is
 * what it is computed in, as far as they are known; else 0 and *why says what differs. */
int placement_continues(const struct job *job, const struct placement_facts *facts,
                        const char *precision, char *why, size_t size);

/* Index of the idle slot that a queued job can start on now, or -1: *waits then
 * says why it cannot, and *stale is the slot whose free memory stands in its
 * way, as far as is known, or -1. `auto` is a GPU if there is an available one,
 * busy or not, else the CPU. */
int placement_match(const struct job *job, const struct placement_slot *slots, int n, char *waits,
                    size_t size, int *stale);

#endif
