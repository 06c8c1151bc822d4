/* keep: see keep.h. */
#include "server/queue/keep.h"

#include <stdlib.h>

struct keep {
    const struct keep_rules *rules;
    int64_t now, stored; /* what is left of the bytes once all items are carried out */
    struct retention_item *items;
    int n;
};

static int keep_order(const void *a, const void *b)
{
    const struct keep_job *x = a, *y = b;
    const int later = (x->finished_at > y->finished_at) - (x->finished_at < y->finished_at);
    return later ? later : (x->seq > y->seq) - (x->seq < y->seq);
}

/* Plan a part of the job. What has been planned has no bytes any more. */
static void keep_add(struct keep *keep, struct keep_job *job, enum retention_part part, int64_t due)
{
    int64_t bytes = job->bytes[part];
    for (int p = 0; part == RETENTION_JOB && p < RETENTION_JOB; p++) {
        bytes += job->bytes[p];
        job->bytes[p] = 0;
    }
    keep->items[keep->n++] =
        (struct retention_item){.seq = job->seq, .part = part, .bytes = bytes, .due = due};
    keep->stored -= bytes;
    job->bytes[part] = part == RETENTION_JOB ? -1 : 0;
}

/* 1 if there is something to plan: a part has bytes; a job may have none, but not go twice. */
static int keep_has(const struct keep_job *job, enum retention_part part)
{
    return part == RETENTION_JOB ? job->bytes[part] >= 0 : job->bytes[part] > 0;
}

static void keep_by_age(struct keep *keep, struct keep_job *job)
{
    for (int part = 0; part < RETENTION_PARTS; part++) {
        const int64_t age = keep->rules->age[part];
        const int64_t due = job->finished_at + age;
        if (age && due <= keep->now + keep->rules->notice &&
            keep_has(job, (enum retention_part)part))
            keep_add(keep, job, (enum retention_part)part, due);
    }
}

int keep_plan(const struct keep_rules *rules, int64_t now, int64_t stored, struct keep_job *jobs,
              int n, struct retention_item *items)
{
    struct keep keep = {.rules = rules, .now = now, .stored = stored, .items = items};
    qsort(jobs, (size_t)n, sizeof *jobs, keep_order);
    for (int i = 0; i < n; i++)
        keep_by_age(&keep, &jobs[i]);
    for (int part = 0; rules->bytes && part < RETENTION_PARTS; part++)
        for (int i = 0; i < n && keep.stored > rules->bytes; i++)
            if (keep_has(&jobs[i], (enum retention_part)part))
                keep_add(&keep, &jobs[i], (enum retention_part)part, now);
    return keep.n;
}
