/* upkeep: see upkeep.h. Files are measured outside of the transactions, a job at a time, and only
 * what has changed is written, so the writer is held for single rows. */
#include "server/queue/upkeep.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/log.h"
#include "db/usage.h"
#include "server/queue/job_files.h"

enum { UPKEEP_MS = 3600 * 1000 };

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

static void *upkeep_thread(void *arg)
{
    const struct upkeep *upkeep = arg;
    do {
        struct err err = ERR_INIT;
        if (upkeep_measure(upkeep, &err) < 0 || upkeep_fold(upkeep, &err) < 0)
            log_line(LOG_WARNING, "what jobs take could not be stored: %s", err.message);
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
