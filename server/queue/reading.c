/* reading: see reading.h. One loop: admit what can be admitted, then read the next text of the
 * reading list. Work is found by looking (job_unread, the reading list), never handed over, so a
 * wake that is lost or too early costs at most READING_TICK_MS. */
#include "server/queue/reading.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/emit.h"
#include "config/file.h"
#include "config/log.h"
#include "db/jobs.h"
#include "server/data.h"
#include "server/job_text.h"
#include "server/queue/trainer_process.h"
#include "server/reading_list.h"
#include "server/redact.h"

enum {
    READING_TICK_MS = 10 * 1000, /* between two looks without a wake */
    READING_LOOK_MS = 2000,      /* the same while a text is read, which no wake interrupts */
    READING_GRACE_MS = 1000      /* for the trainer to exit by itself */
};

struct reading {
    const struct settings *settings;
    struct db *db;
    struct db_reader *reader; /* of the thread */
    struct datasets *datasets;
    struct reading_list *list;
    struct workers *workers;
    int stop_fd; /* eventfd: readable once the thread is to end */
    atomic_int stopping;
    pthread_t thread;
};

/* ---- jobs that wait for a text ---- */

struct reading_write {
    struct job *job;
    const char *text; /* error or reason */
};

static int reading_write_admitted(struct db_writer *writer, void *arg, struct err *err)
{
    const struct reading_write *write = arg;
    return job_was_read(writer, write->job, err);
}

static int reading_write_failed(struct db_writer *writer, void *arg, struct err *err)
{
    const struct reading_write *write = arg;
    return job_unreadable(writer, write->job->id, write->text, err);
}

static int reading_write_waits(struct db_writer *writer, void *arg, struct err *err)
{
    const struct reading_write *write = arg;
    return job_set_waits(writer, write->job->id, REASON_READING, write->text, err);
}

/* Error of a job as JSON (malloc): as of any failed job, and the fields that are to blame. */
static char *reading_error(struct reading *reading, struct err *why)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    redact_err(reading->settings, why);
    emit_object(&json, NULL);
    emit_text(&json, "code", err_name(why->code));
    emit_text(&json, "message", why->message);
    emit_null(&json, "epoch");
    emit_array(&json, "errors");
    for (int i = 0; i < why->n_fields; i++) {
        emit_object(&json, NULL);
        emit_text(&json, "pointer", why->fields[i].pointer);
        emit_text(&json, "detail", why->fields[i].detail);
        emit_end(&json);
    }
    emit_end(&json);
    emit_end(&json);
    return emit_close_text(&json);
}

/* A fault of the spec or of the text ends the job; one of the machine may pass. */
static void reading_refuse(struct reading *reading, struct job *job, struct err *why)
{
    const int ends = why->code == ERR_INVALID || why->code == ERR_DEVICE;
    char *error = ends ? reading_error(reading, why) : NULL;
    struct reading_write write = {.job = job, .text = ends ? error : why->message};
    struct err err = ERR_INIT;
    if (ends && !error)
        return;
    if (!ends)
        redact_err(reading->settings, why);
    if (db_call(reading->db, ends ? reading_write_failed : reading_write_waits, &write, &err))
        log_line(LOG_ERROR, "job %s: %s", job->id, err.message);
    else if (ends)
        log_line(LOG_INFO, "job %s failed before its start: %s", job->id, why->message);
    free(error);
}

static int reading_fill(struct reading *reading, struct job *job, struct err *err)
{
    struct spec *spec = NULL;
    struct datasets_use text;
    if (spec_parse(job->spec, strlen(job->spec), &spec, err))
        return -1;
    json_t *facts = json_loads(job->facts, 0, NULL);
    int failed = datasets_get(reading->datasets, spec, &text, err);
    if (!failed) {
        /* The server may have the text in memory, but the trainer takes it from the files. */
        failed = datasets_prepare(reading->datasets, spec, err) ||
                 job_text_fill(job, spec, json_string_value(json_object_get(facts, "corpus_name")),
                               &text, err);
        datasets_release(reading->datasets, &text);
    }
    json_decref(facts);
    spec_free(spec);
    return failed;
}

/* 1 if the job went into the queue. */
static int reading_admit_one(struct reading *reading, struct job *job)
{
    struct reading_write write = {.job = job};
    struct err err = ERR_INIT;
    if (reading_fill(reading, job, &err)) {
        if (!job->waits || strcmp(job->waits, err.message) != 0)
            reading_refuse(reading, job, &err);
        return 0;
    }
    if (!db_call(reading->db, reading_write_admitted, &write, &err))
        return 1;
    log_line(LOG_ERROR, "job %s: %s", job->id, err.message);
    return 0;
}

static void reading_admit(struct reading *reading)
{
    struct job **jobs = NULL;
    struct err err = ERR_INIT;
    int n = 0, admitted = 0;
    if (job_unread(reading->reader, &jobs, &n, &err)) {
        log_line(LOG_ERROR, "jobs that wait for a text cannot be read: %s", err.message);
        return;
    }
    for (int i = 0; i < n; i++) {
        admitted += !atomic_load(&reading->stopping) && reading_admit_one(reading, jobs[i]);
        job_free(jobs[i]);
    }
    free(jobs);
    if (admitted)
        workers_wake(reading->workers);
}

/* ---- reading a text ---- */

static int reading_spec(const struct reading_key *key, char **text, struct err *err)
{
    struct spec *spec = spec_default();
    *text = NULL;
    if (spec) {
        memcpy(spec->corpus.id, key->text, sizeof key->text);
        memcpy(spec->corpus.tokenizer, key->tokenizer, sizeof key->tokenizer);
        spec->corpus.variant = key->variant;
        spec->data.holdout = key->words ? SPEC_HOLDOUT_MAX : 0;
        *text = spec_print(spec);
    }
    spec_free(spec);
    return *text ? 0 : err_set(err, ERR_NO_MEMORY, "no memory to have a text read");
}

/* Wait for the answer to `read`, however long it takes: a large text beside trainers needs many
 * minutes. Jobs whose own text is there by now are admitted meanwhile. */
static int reading_answer(struct reading *reading, struct trainer_process *process,
                          struct reading_failure *failure, struct err *err)
{
    struct message message = {0};
    int got = 0;
    while (got == 0 && !atomic_load(&reading->stopping)) {
        reading_admit(reading);
        got = trainer_process_receive(process, READING_LOOK_MS, reading->stop_fd, &message, err);
    }
    if (got == 0)
        err_set(err, ERR_CANCELLED, "the server is stopping");
    if (got > 0 && message.type == MESSAGE_READ_FAILED) {
        failure->code = err_from_name(message.code);
        snprintf(failure->pointer, sizeof failure->pointer, "%s", message.pointer);
        snprintf(failure->text, sizeof failure->text, "%s", message.text);
    } else if (got > 0 && message.type != MESSAGE_READ_DONE) {
        got = err_set(err, ERR_PROTOCOL, "the trainer answered `read` with something else");
    }
    message_clear(&message);
    return got > 0 ? 0 : -1;
}

static int reading_talk(struct reading *reading, const struct reading_key *key,
                        struct trainer_process *process, struct reading_failure *failure,
                        struct err *err)
{
    char text[DATA_PATH_MAX], folder[DATA_PATH_MAX];
    struct message ask = {.type = MESSAGE_READ, .corpus = text, .dir = folder};
    if (data_path(reading->settings, text, sizeof text, err, "corpora/%s", key->text) ||
        datasets_folder(reading->settings, key->text, folder, sizeof folder, err) ||
        reading_spec(key, &ask.spec, err))
        return -1;
    const int failed =
        trainer_process_send(process, &ask, err) || reading_answer(reading, process, failure, err);
    free(ask.spec);
    return failed ? -1 : 0;
}

/* Have a text read by a process of its own. A process that is lost counts against the text. */
static void reading_ask(struct reading *reading, const struct reading_key *key,
                        struct reading_failure *failure)
{
    struct trainer_process *process = NULL;
    struct err err = ERR_INIT;
    char how[128] = "";
    *failure = (struct reading_failure){.code = ERR_NONE};
    int failed = trainer_process_start(reading->settings, "cpu", &process, &err);
    if (failed)
        failure->code = ERR_UNAVAILABLE;
    if (!failed && (failed = reading_talk(reading, key, process, failure, &err)))
        failure->code = err.code == ERR_CANCELLED ? ERR_CANCELLED : ERR_DEVICE;
    trainer_process_end(process, failed ? 0 : READING_GRACE_MS, how, sizeof how);
    if (failed)
        snprintf(failure->text, sizeof failure->text, "%.300s%s%s", err.message,
                 *how ? "; the process that read the text " : "", how);
}

/* A text that was deleted while it was read leaves no tokens. 1 if this one was. */
static int reading_drop_deleted(struct reading *reading, const struct reading_key *key)
{
    char text[DATA_PATH_MAX], folder[DATA_PATH_MAX];
    struct err err = ERR_INIT;
    if (data_path(reading->settings, text, sizeof text, &err, "corpora/%s", key->text) ||
        datasets_folder(reading->settings, key->text, folder, sizeof folder, &err) ||
        access(text, F_OK) == 0 || errno != ENOENT)
        return 0;
    if (file_remove_folder(folder, &err))
        log_line(LOG_WARNING, "%s", err.message);
    return 1;
}

static void reading_read(struct reading *reading, const struct reading_key *key)
{
    const char *variant = spec_variant_name(key->variant);
    struct reading_failure failure;
    log_line(LOG_INFO, "text %s is being read: %s, %s", key->text, variant, key->tokenizer);
    reading_ask(reading, key, &failure);
    if (failure.code == ERR_CANCELLED)
        return;
    if (reading_drop_deleted(reading, key)) {
        /* Nothing is kept: the same bytes may be uploaded again. */
        log_line(LOG_INFO, "text %s was deleted while it was read", key->text);
        failure.code = ERR_NONE;
    } else if (failure.code == ERR_NONE) {
        log_line(LOG_INFO, "text %s is read: %s, %s", key->text, variant, key->tokenizer);
    } else {
        log_line(LOG_WARNING, "text %s could not be read: %s", key->text, failure.text);
    }
    reading_list_done(reading->list, key, failure.code == ERR_NONE ? NULL : &failure);
}

/* ---- the thread ---- */

static void *reading_thread(void *arg)
{
    struct reading *reading = arg;
    while (!atomic_load(&reading->stopping)) {
        struct reading_key key;
        reading_admit(reading);
        reading_list_drop_lost(reading->list);
        if (reading_list_next(reading->list, &key, READING_TICK_MS) &&
            !atomic_load(&reading->stopping))
            reading_read(reading, &key);
    }
    return NULL;
}

static int reading_open(struct reading *reading, struct err *err)
{
    reading->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (reading->stop_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no eventfd for the reader of texts");
    if (db_reader_open(reading->db, &reading->reader, err))
        return -1;
    errno = pthread_create(&reading->thread, NULL, reading_thread, reading);
    return errno ? err_set_errno(err, ERR_UNAVAILABLE, "the reader of texts cannot start") : 0;
}

static void reading_free(struct reading *reading)
{
    db_reader_close(reading->reader);
    if (reading->stop_fd >= 0)
        close(reading->stop_fd);
    free(reading);
}

int reading_start(const struct settings *settings, struct db *db, struct datasets *datasets,
                  struct workers *workers, struct reading **out, struct err *err)
{
    struct reading *reading = calloc(1, sizeof *reading);
    if (!reading)
        return err_set(err, ERR_NO_MEMORY, "no memory for the reader of texts");
    reading->settings = settings;
    reading->db = db;
    reading->datasets = datasets;
    reading->list = datasets_reading(datasets);
    reading->workers = workers;
    if (reading_open(reading, err)) {
        reading_free(reading);
        return -1;
    }
    *out = reading;
    return 0;
}

void reading_wake(struct reading *reading)
{
    reading_list_wake(reading->list);
}

void reading_stop(struct reading *reading)
{
    if (!reading)
        return;
    atomic_store(&reading->stopping, 1);
    eventfd_write(reading->stop_fd, 1);
    reading_list_wake(reading->list);
    pthread_join(reading->thread, NULL);
    reading_free(reading);
}
