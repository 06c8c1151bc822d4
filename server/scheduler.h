/* scheduler: which job runs where, and why the others wait. Pure decisions over
 * a snapshot of the device slots: a table of obstacles, each with the sentence
 * that a waiting job shows. The thread that calls it is in worker.c. */
#ifndef TOKENFATE_SCHEDULER_H
#define TOKENFATE_SCHEDULER_H

#include <stddef.h>

#include "config/err.h"
#include "db/jobs.h"
#include "server/trainer_process.h"

enum {
    SCHEDULER_WAITS_MAX = 400, /* bytes of a sentence, with its zero */
    SCHEDULER_WHY_MAX = 340,   /* of the part of it that says why, behind the device */
    SCHEDULER_REFUSALS = 16    /* of one device, remembered at a time */
};

/* What the bits of a training run depend on besides its spec. The build is known
 * from a trainer's hello, the rest from the first `started` of a device; what is
 * not known yet is empty ("", 0 threads). */
struct scheduler_facts {
    char device[128], isa[64], build[128];
    int64_t threads;
};

/* A job that a device's trainer has sent back, until it may be tried again. */
struct scheduler_refusal {
    char job[DB_ID_MAX]; /* "" = none */
    int attempt;         /* of the job: a retry starts it anew */
    char why[SCHEDULER_WHY_MAX];
};

struct scheduler_slot {
    struct trainer_device device;
    struct scheduler_facts facts;
    char job[DB_ID_MAX]; /* runs on it, or is about to; "" = idle */
    int is_open;         /* a trainer of ours holds it, and told of its free memory */
    struct scheduler_refusal refusals[SCHEDULER_REFUSALS];
};

/* Stored with a job at its first start, JSON in malloc'ed memory: facts, host,
 * precision and the text's address. NULL without memory. */
char *scheduler_provenance(const struct scheduler_facts *facts, const char *precision,
                           const char *corpus_sha256);

/* 1 if a job, with its provenance if it was started before, can go on with the same
 * bits where these facts hold and `precision` ("": not known before it starts) is
 * what it is computed in, as far as they are known; else 0 and *why says what differs. */
int scheduler_continues(const struct job *job, const struct scheduler_facts *facts,
                        const char *precision, char *why, size_t size);

/* Index of the idle slot that a queued job can start on now, or -1: *waits then
 * says why it cannot, and *stale is the slot whose free memory stands in its
 * way, as far as is known, or -1. `auto` is a GPU if there is an available one,
 * busy or not, else the CPU. */
int scheduler_match(const struct job *job, const struct scheduler_slot *slots, int n, char *waits,
                    size_t size, int *stale);

#endif
