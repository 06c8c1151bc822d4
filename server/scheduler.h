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
    SCHEDULER_WHY_MAX = 340    /* of the part of it that scheduler_continues says */
};

/* What the bits of a training run depend on besides its spec; learnt from the
 * first `started` of a device, empty (device "") until then. */
struct scheduler_facts {
    char device[128], isa[32], build[128];
    int64_t threads;
};

struct scheduler_slot {
    struct trainer_device device;
    struct scheduler_facts facts;
    char job[DB_ID_MAX]; /* runs on it, or is about to; "" = idle */
};

/* Stored with a job at its first start, JSON in malloc'ed memory: facts, host,
 * precision and the text's address. NULL without memory. */
char *scheduler_provenance(const struct scheduler_facts *facts, const char *precision,
                           const char *corpus_sha256);

/* 1 if a job with this provenance (NULL: any) can go on with the same bits where
 * these facts hold; else 0 and *why says what differs. */
int scheduler_continues(const char *provenance, const struct scheduler_facts *facts, char *why,
                        size_t size);

/* Index of the idle slot that a queued job can start on now, or -1: *waits then
 * says why it cannot, and *stale is the slot whose free memory stands in its
 * way, as far as is known, or -1. `auto` is a GPU if there is an available one,
 * busy or not, else the CPU. */
int scheduler_match(const struct job *job, const struct scheduler_slot *slots, int n, char *waits,
                    size_t size, int *stale);

#endif
