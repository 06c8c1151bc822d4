/* scheduler: see scheduler.h. The thread sleeps in slot_set_wait until a slot or a job has
 * changed, then makes one pass over the whole queue. A pass works on copies: the queue as read
 * from the database, and a snapshot of the slots. Both may be out of date; that is harmless,
 * because the claim (job_claim) is a compare-and-swap in the database, and a job that was
 * cancelled meanwhile is not claimed. */
#include "server/queue/scheduler.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/log.h"
#include "db/jobs.h"
#include "server/queue/placement.h"

enum { SCHEDULER_TICK_SECONDS = 30 }; /* a pass without a wake: refusals end by time */

struct scheduler {
    struct slot_set *set;
    struct db_reader *reader; /* of the thread */
    pthread_t thread;
};

/* Reasons that have changed, to be stored in one transaction. */
struct waiting {
    int n;
    struct {
        const char *id;
        char waits[PLACEMENT_WAITS_MAX];
    } * jobs;
};

static int scheduler_write_waits(struct db_writer *writer, void *arg, struct err *err)
{
    const struct waiting *waiting = arg;
    for (int i = 0; i < waiting->n; i++)
        if (job_set_waits(writer, waiting->jobs[i].id, waiting->jobs[i].waits, err) < 0)
            return -1;
    return 0;
}

/* 1 if a slot holds the job. The queue still contains a job that a slot is about to claim, or
 * has just put back; the slot itself tells when it is free (slot_release). */
static int scheduler_handed_over(const struct placement_slot *slots, int n, const char *job)
{
    for (int i = 0; i < n; i++)
        if (strcmp(slots[i].job, job) == 0)
            return 1;
    return 0;
}

/* Hand over each queued job, in the order of the queue, or note the reason why it waits. A job
 * that must wait does not hold back those after it. */
static void scheduler_pass(struct scheduler *scheduler, struct job **jobs, int n,
                           struct waiting *waiting)
{
    struct placement_slot slots[TRAINER_DEVICES_MAX];
    int n_slots = slot_set_snapshot(scheduler->set, slots);
    for (int i = 0; i < n; i++) {
        int stale;
        if (scheduler_handed_over(slots, n_slots, jobs[i]->id))
            continue;
        char *waits = waiting->jobs[waiting->n].waits;
        int index = placement_match(jobs[i], slots, n_slots, waits, PLACEMENT_WAITS_MAX, &stale);
        if (index >= 0) {
            memcpy(slots[index].job, jobs[i]->id, sizeof slots[index].job);
            slot_hand_over(&scheduler->set->slots[index], jobs[i]->id);
            continue;
        }
        if (stale >= 0)
            slot_refresh_memory(&scheduler->set->slots[stale]);
        if (!jobs[i]->waits || strcmp(jobs[i]->waits, waits) != 0)
            waiting->jobs[waiting->n++].id = jobs[i]->id;
    }
}

static void scheduler_look(struct scheduler *scheduler)
{
    struct job **jobs = NULL;
    struct waiting waiting = {0};
    struct err err = ERR_INIT;
    int n = 0;
    if (job_queue(scheduler->reader, (int)scheduler->set->settings->max_queue, &jobs, &n, &err) <
        0) {
        log_line(LOG_ERROR, "the queue cannot be read: %s", err.message);
        return;
    }
    waiting.jobs = calloc((size_t)n + 1, sizeof *waiting.jobs);
    if (waiting.jobs)
        scheduler_pass(scheduler, jobs, n, &waiting);
    if (waiting.n > 0 && db_call(scheduler->set->db, scheduler_write_waits, &waiting, &err) < 0)
        log_line(LOG_WARNING, "why jobs wait cannot be stored: %s", err.message);
    free(waiting.jobs);
    for (int i = 0; i < n; i++)
        job_free(jobs[i]);
    free(jobs);
}

static void *scheduler_thread(void *arg)
{
    struct scheduler *scheduler = arg;
    while (!atomic_load(&scheduler->set->stopping)) {
        int64_t began = clock_monotonic_ms();
        scheduler_look(scheduler);
        /* Pause as long as the pass took: under constant change a long queue costs at most
         * half a core. */
        poll(NULL, 0, (int)(clock_monotonic_ms() - began));
        slot_set_wait(scheduler->set, SCHEDULER_TICK_SECONDS);
    }
    return NULL;
}

int scheduler_start(struct slot_set *set, struct scheduler **out, struct err *err)
{
    struct scheduler *scheduler = calloc(1, sizeof *scheduler);
    if (!scheduler)
        return err_set(err, ERR_NO_MEMORY, "no memory for the scheduler");
    scheduler->set = set;
    if (db_reader_open(set->db, &scheduler->reader, err) < 0) {
        free(scheduler);
        return -1;
    }
    errno = pthread_create(&scheduler->thread, NULL, scheduler_thread, scheduler);
    if (errno) {
        err_set_errno(err, ERR_UNAVAILABLE, "the scheduler thread cannot start");
        db_reader_close(scheduler->reader);
        free(scheduler);
        return -1;
    }
    *out = scheduler;
    return 0;
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (!scheduler)
        return;
    pthread_join(scheduler->thread, NULL);
    db_reader_close(scheduler->reader);
    free(scheduler);
}
