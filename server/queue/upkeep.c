/* upkeep: see upkeep.h. Files are measured outside of the transactions, a job at a time, and only
 * what has changed is written, so the writer is held for single rows. */
#include "server/queue/upkeep.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/log.h"
#include "db/retention.h"
#include "db/usage.h"
#include "server/queue/job_files.h"
#include "server/queue/keep.h"

enum {
    UPKEEP_MS = 3600 * 1000,
    UPKEEP_BATCH = 200 /* announcements of one transaction: some milliseconds */
};

static const int64_t day_us = 86400000000;

struct upkeep {
    const struct settings *settings;
    struct db *db;
    struct db_reader *reader; /* of the thread */
    int stop_fd;              /* eventfd: readable once the thread is to end */
    pthread_t thread;
};

/* 1 if the thread is to end; waits for that as long. */
static int upkeep_ends(const struct upkeep *upkeep, int ms)
{
    struct pollfd fd = {.fd = upkeep->stop_fd, .events = POLLIN};
    return poll(&fd, 1, ms) > 0;
}

struct upkeep_file {
    char id[DB_ID_MAX];
    int64_t bytes;
};

static int write_measured(struct db_writer *writer, void *arg, struct err *err)
{
    const struct upkeep_file *file = arg;
    return usage_measured(writer, file->id, file->bytes, err);
}

static int write_stored(struct db_writer *writer, void *arg, struct err *err)
{
    (void)arg;
    return usage_stored(writer, err);
}

static int write_fold(struct db_writer *writer, void *arg, struct err *err)
{
    int *more = arg;
    *more = usage_fold(writer, usage_day(db_now()) - USAGE_JOB_DAYS, err);
    return *more < 0 ? -1 : 0;
}

static int upkeep_measure(const struct upkeep *upkeep, struct err *err)
{
    int64_t seq = 0, stored = 0;
    struct upkeep_file file;
    int found;
    while ((found = usage_next_job(upkeep->reader, &seq, file.id, &stored, err)) > 0 &&
           !upkeep_ends(upkeep, 0)) {
        file.bytes = job_files_measure(upkeep->settings, file.id).total;
        if (file.bytes != stored && db_call(upkeep->db, write_measured, &file, err) < 0)
            return -1;
    }
    return found < 0 ? -1 : db_call(upkeep->db, write_stored, NULL, err);
}

static int upkeep_fold(const struct upkeep *upkeep, struct err *err)
{
    int more = 1;
    while (more > 0 && !upkeep_ends(upkeep, 0))
        if (db_call(upkeep->db, write_fold, &more, err) < 0)
            return -1;
    return 0;
}

/* ---- retention ---- */

static struct keep_rules upkeep_rules(const struct settings *settings)
{
    return (struct keep_rules){.age = {[RETENTION_STATE] = settings->keep_state_days * day_us,
                                       [RETENTION_MODELS] = settings->keep_model_days * day_us,
                                       [RETENTION_JOB] = settings->keep_job_days * day_us},
                               .notice = settings->notice_days * day_us,
                               .bytes = settings->keep_bytes};
}

static int rules_ask(const struct keep_rules *rules)
{
    return rules->bytes || rules->age[RETENTION_STATE] || rules->age[RETENTION_MODELS] ||
           rules->age[RETENTION_JOB];
}

/* The jobs that may lose something (malloc), with their sizes. */
static int upkeep_jobs(const struct upkeep *upkeep, struct keep_job **jobs, int *n, struct err *err)
{
    struct retention_job job = {0};
    struct keep_job *list = NULL;
    int count = 0, room = 0, found;
    while ((found = retention_next_job(upkeep->reader, &job, err)) > 0) {
        if (count == room) {
            room = room ? 2 * room : 64;
            struct keep_job *larger = realloc(list, (size_t)room * sizeof *list);
            if (!larger) {
                found = err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", room);
                break;
            }
            list = larger;
        }
        const struct job_sizes sizes = job_files_measure(upkeep->settings, job.id);
        list[count++] = (struct keep_job){
            .seq = job.seq,
            .finished_at = job.finished_at,
            .bytes = {sizes.state, sizes.model,
                      sizes.total - sizes.state - sizes.model + job.record_bytes}};
    }
    if (found < 0) {
        free(list);
        return -1;
    }
    *jobs = list;
    *n = count;
    return 0;
}

/* Announcements of one pass. */
struct upkeep_items {
    const struct retention_item *items;
    int n;
    int64_t notice, now;
};

static int write_items(struct db_writer *writer, void *arg, struct err *err)
{
    const struct upkeep_items *write = arg;
    for (int i = 0; i < write->n; i++)
        if (retention_announce(writer, &write->items[i], write->notice, write->now, err) < 0)
            return -1;
    return 0;
}

static int write_forget(struct db_writer *writer, void *arg, struct err *err)
{
    return retention_forget(writer, *(const int64_t *)arg, err);
}

static int upkeep_announce(const struct upkeep *upkeep, const struct keep_rules *rules, int64_t now,
                           struct err *err)
{
    struct keep_job *jobs = NULL;
    int64_t stored;
    int n = 0, failed = 0;
    if (rules_ask(rules) &&
        (usage_total(upkeep->reader, &stored, err) < 0 || upkeep_jobs(upkeep, &jobs, &n, err) < 0))
        return -1;
    struct retention_item *items = calloc((size_t)n * RETENTION_PARTS + 1, sizeof *items);
    if (!items)
        failed = err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", n);
    const int n_items = items && n ? keep_plan(rules, now, stored, jobs, n, items) : 0;
    for (int i = 0; i < n_items && !failed; i += UPKEEP_BATCH) {
        struct upkeep_items write = {.items = items + i,
                                     .n = n_items - i < UPKEEP_BATCH ? n_items - i : UPKEEP_BATCH,
                                     .notice = rules->notice,
                                     .now = now};
        failed = db_call(upkeep->db, write_items, &write, err);
    }
    free(jobs);
    free(items);
    return failed ? -1 : db_call(upkeep->db, write_forget, &now, err);
}

/* Something that is due. */
struct upkeep_due {
    const struct upkeep *upkeep;
    char id[DB_ID_MAX];
    enum retention_part part;
    int is_aside; /* the files are, and the announcement is carried out */
};

struct upkeep_dues {
    struct upkeep_due *list;
    int n, room;
};

static int note_due(void *self, const struct retention_row *row)
{
    struct upkeep_dues *dues = self;
    if (dues->n == dues->room) {
        const int room = dues->room ? 2 * dues->room : 64;
        struct upkeep_due *larger = realloc(dues->list, (size_t)room * sizeof *larger);
        if (!larger)
            return 1; /* the rest goes an hour later */
        dues->list = larger;
        dues->room = room;
    }
    struct upkeep_due *due = &dues->list[dues->n++];
    *due = (struct upkeep_due){.part = row->item.part};
    snprintf(due->id, sizeof due->id, "%s", row->id);
    return 0;
}

/* As a job is deleted (job_files.h): files aside in the transaction, removed after it. */
static int write_taken(struct db_writer *writer, void *arg, struct err *err)
{
    struct upkeep_due *due = arg;
    const struct settings *settings = due->upkeep->settings;
    const int taken = retention_take(writer, due->id, due->part, db_now(), err);
    if (taken <= 0)
        return taken;
    if (due->part == RETENTION_JOB ? job_files_set_aside(settings, due->id, err)
                                   : job_files_part_set_aside(settings, due->id, due->part, err))
        return -1;
    due->is_aside = 1;
    return 0;
}

static void upkeep_put_back(const struct upkeep_due *due)
{
    if (due->is_aside && due->part == RETENTION_JOB)
        job_files_put_back(due->upkeep->settings, due->id);
    else if (due->is_aside)
        job_files_part_put_back(due->upkeep->settings, due->id, due->part);
}

/* 1: it is gone. */
static int upkeep_take(const struct upkeep *upkeep, struct upkeep_due *due, struct err *err)
{
    const struct settings *settings = upkeep->settings;
    struct upkeep_file file;
    due->upkeep = upkeep;
    if (db_call(upkeep->db, write_taken, due, err) < 0) {
        upkeep_put_back(due);
        return -1;
    }
    if (!due->is_aside)
        return 0;
    if (due->part == RETENTION_JOB)
        return job_files_remove(settings, due->id, err) ? -1 : 1;
    if (job_files_part_remove(settings, due->id, due->part, err))
        return -1;
    memcpy(file.id, due->id, sizeof file.id);
    file.bytes = job_files_measure(settings, file.id).total;
    return db_call(upkeep->db, write_measured, &file, err) < 0 ? -1 : 1;
}

static int upkeep_carry_out(const struct upkeep *upkeep, int64_t now, struct err *err)
{
    struct upkeep_dues dues = {0};
    const struct retention_filter filter = {.due_until = now, .limit = INT32_MAX};
    int gone = 0, failed = retention_list(upkeep->reader, &filter, note_due, &dues, err);
    for (int i = 0; i < dues.n && !failed && !upkeep_ends(upkeep, 0); i++) {
        const int taken = upkeep_take(upkeep, &dues.list[i], err);
        gone += taken > 0;
        failed = taken < 0;
    }
    free(dues.list);
    if (gone)
        log_line(LOG_INFO, "retention: %d announced parts of jobs are gone", gone);
    return failed ? -1 : 0;
}

static int upkeep_retain(const struct upkeep *upkeep, struct err *err)
{
    const struct keep_rules rules = upkeep_rules(upkeep->settings);
    const int64_t now = db_now();
    return upkeep_announce(upkeep, &rules, now, err) < 0 ? -1 : upkeep_carry_out(upkeep, now, err);
}

/* ---- the thread ---- */

/* One after the other: what fails does not keep the others back. */
static void *upkeep_thread(void *arg)
{
    static int (*const steps[])(const struct upkeep *, struct err *) = {upkeep_measure,
                                                                        upkeep_retain, upkeep_fold};
    const struct upkeep *upkeep = arg;
    do {
        for (size_t i = 0; i < sizeof steps / sizeof *steps && !upkeep_ends(upkeep, 0); i++) {
            struct err err = ERR_INIT;
            if (steps[i](upkeep, &err) < 0)
                log_line(LOG_WARNING, "the upkeep goes on in an hour: %s", err.message);
        }
    } while (!upkeep_ends(upkeep, UPKEEP_MS));
    return NULL;
}

static int upkeep_open(struct upkeep *upkeep, struct err *err)
{
    upkeep->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (upkeep->stop_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no eventfd for the upkeep");
    if (db_reader_open(upkeep->db, &upkeep->reader, err))
        return -1;
    errno = pthread_create(&upkeep->thread, NULL, upkeep_thread, upkeep);
    return errno ? err_set_errno(err, ERR_UNAVAILABLE, "the thread of the upkeep cannot start") : 0;
}

static void upkeep_free(struct upkeep *upkeep)
{
    db_reader_close(upkeep->reader);
    if (upkeep->stop_fd >= 0)
        close(upkeep->stop_fd);
    free(upkeep);
}

int upkeep_start(const struct settings *settings, struct db *db, struct upkeep **out,
                 struct err *err)
{
    struct upkeep *upkeep = calloc(1, sizeof *upkeep);
    if (!upkeep)
        return err_set(err, ERR_NO_MEMORY, "no memory for the upkeep");
    upkeep->settings = settings;
    upkeep->db = db;
    if (upkeep_open(upkeep, err)) {
        upkeep_free(upkeep);
        return -1;
    }
    *out = upkeep;
    return 0;
}

void upkeep_stop(struct upkeep *upkeep)
{
    if (!upkeep)
        return;
    eventfd_write(upkeep->stop_fd, 1);
    pthread_join(upkeep->thread, NULL);
    upkeep_free(upkeep);
}
