/* job_run: see job_run.h. Two tables: `takes` has a function for each message of the trainer;
 * `orders` has, for each order (cancel, stop, hold, ...), the message to send and the end of the
 * job, whether the order is obeyed, overdue, or the trainer dies while it is pending.
 *
 * Full disk: a write that fails because of it is tried again every second until it succeeds or
 * the server stops. The trainer meanwhile blocks on its full socket, so no record is lost
 * (backpressure). If the trainer itself cannot write (checkpoint, model), it reports `failed`,
 * and the job goes back to the queue without counting an attempt (attempt_put_off).
 *
 * Wakes: whoever requests a cancel writes the row first and then the eventfd wake_fd. The
 * thread drains the eventfd before it reads the row, so no request is missed. */
#include "server/queue/job_run.h"

#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "config/clock.h"
#include "config/emit.h"
#include "config/file.h"
#include "config/log.h"
#include "config/record_grid.h"
#include "config/spec.h"
#include "db/accounts.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "db/shortages.h"
#include "db/step_times.h"
#include "db/usage.h"
#include "lab/text.h"
#include "server/data.h"
#include "server/queue/conversation.h"
#include "server/queue/fair.h"
#include "server/queue/job_files.h"
#include "server/redact.h"

enum {
    ATTEMPT_PATH_MAX = SETTINGS_TEXT_MAX + 128,
    ATTEMPT_LOG_MAX = 16 << 20, /* bytes of a job's log: a trainer in a loop must not fill a disk */
    ATTEMPT_REAP_MS = 200,      /* for a lost trainer to exit, so that its status is known */
    ATTEMPT_TRY_AGAIN_MS = 1000, /* between two tries to store or to read */
    ATTEMPT_CHARGE_MS = 10000,   /* between two charges: what a crash of the server loses */
    ATTEMPT_SHORTAGES = 3,       /* times that a job which finds too little memory goes back */
    ATTEMPT_PACE_MS = 1000       /* of epochs, before a measurement of their speed means anything */
};

enum order {
    ORDER_NONE,
    ORDER_CANCEL,
    ORDER_STOP,
    ORDER_HOLD,
    ORDER_PAUSE,
    ORDER_SLICE,
    ORDER_HOURS,
    ORDER_LIMIT
};

static const struct {
    enum message_type message;
    enum job_end end;
    const char *word;
} orders[] = {
    [ORDER_CANCEL] = {MESSAGE_CANCEL, JOB_END_CANCELLED, "cancelled"},
    [ORDER_STOP] = {MESSAGE_STOP, JOB_END_REQUEUE, "stopped, goes on with the next start"},
    [ORDER_HOLD] = {MESSAGE_STOP, JOB_END_REQUEUE, "held"},
    [ORDER_PAUSE] = {MESSAGE_STOP, JOB_END_REQUEUE, "the queue is paused"},
    [ORDER_SLICE] = {MESSAGE_STOP, JOB_END_SLICED, "gives way to another user"},
    [ORDER_HOURS] = {MESSAGE_STOP, JOB_END_REQUEUE, "device_hours of its user are over"},
    [ORDER_LIMIT] = {MESSAGE_STOP, JOB_END_LIMIT, "max_seconds are over"},
};

/* One attempt of a job on a trainer. */
struct attempt {
    struct job_run *setup;
    struct job *job;
    FILE *log;
    char folder[ATTEMPT_PATH_MAX];
    char corpus[DATA_PATH_MAX]; /* folder of the text's token files; "" for the synthetic text */
    char model[ATTEMPT_PATH_MAX + 512]; /* file to start from, or "" */
    int look; /* a cancel or a hold may have been requested, or a limit changed: read the row */
    enum order order; /* the first one given */
    struct conversation conversation;
    int64_t limit;             /* ms; end of max_seconds, 0 = none */
    int64_t since, charged;    /* ms; claimed; charged until then */
    int64_t ordered;           /* ms; time of the order, 0: none */
    int64_t start_ms, stop_ms; /* from the claim to `started`, from the order to its end */
    int64_t stored;            /* last epoch in the database */
    int64_t brought, learned;  /* of the first message of records; last one in step_times */
    int64_t learned_at;        /* ms */
    double *values;            /* records of one message, unpacked */
    float *tokens;
    int ended;
    enum job_end end;
    struct err why;                  /* of JOB_END_FAILED and JOB_END_FAULT */
    int64_t why_epoch;               /* epoch of that error */
    char waits[PLACEMENT_WAITS_MAX]; /* reason to go back to the queue, or "" */
    int unread;                      /* 1: its text must be read again first */
};

/* ---- the job's folder and log ---- */

/* Make the folder data/jobs/<id> and open its log. A job that starts anew (a restart) finds the
 * folder empty but for the log, so no old checkpoint is continued. */
static int attempt_prepare(struct attempt *attempt, struct err *err)
{
    const char *data = attempt->setup->settings->data;
    char path[ATTEMPT_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/jobs", data);
    snprintf(attempt->folder, sizeof attempt->folder, "%s/jobs/%s", data, attempt->job->id);
    if (file_make_folder(path, err) < 0 || file_make_folder(attempt->folder, err) < 0)
        return -1;
    /* No error here: a file that cannot be removed fails when the trainer replaces it. */
    if (attempt->job->epoch < 0)
        file_clear_folder(attempt->folder, "log", NULL);
    snprintf(path, sizeof path, "%s/log", attempt->folder);
    attempt->log = fopen(path, "ae");
    if (!attempt->log)
        return err_set_errno(err, ERR_IO, "%s", path);
    setlinebuf(attempt->log);
    return 0;
}

/* Write a line to the job's log. A log that cannot be written does not stop the training. */
static void attempt_log(struct attempt *attempt, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void attempt_log(struct attempt *attempt, const char *format, ...)
{
    char stamp[32], line[LOG_LINE_MAX];
    struct tm utc;
    time_t now = time(NULL);
    if (!attempt->log || ftell(attempt->log) > ATTEMPT_LOG_MAX)
        return;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    redact_text(attempt->setup->settings, line); /* clients read this log */
    fprintf(attempt->log, "%s %s\n", stamp, line);
    clearerr(attempt->log);
}

/* Newest model file of the job `id`, from which this one starts. Epochs in the names have
 * leading zeros, so the greatest name has the highest epoch. */
static int attempt_find_model(struct attempt *attempt, const char *id, struct err *err)
{
    char path[ATTEMPT_PATH_MAX], last[256] = "";
    snprintf(path, sizeof path, "%s/jobs/%s/model", attempt->setup->settings->data, id);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix && strcmp(suffix, ".safetensors") == 0 && strcmp(entry->d_name, last) > 0)
            snprintf(last, sizeof last, "%s", entry->d_name);
    }
    if (folder)
        closedir(folder);
    if (!last[0])
        return err_set(err, ERR_NOT_FOUND,
                       "the model of job %s, from which this one starts, is gone", id);
    snprintf(attempt->model, sizeof attempt->model, "%s/%s", path, last);
    return 0;
}

/* ---- storing ---- */

/* Argument of the database operations below. They run on the writer thread while the worker
 * thread waits in db_call, so they may read the attempt. */
struct attempt_write {
    struct attempt *attempt;
    const char *text;          /* job id, provenance, or error */
    int64_t bytes, from;       /* memory of the job, of its files at the end; first epoch */
    int n, n_values, n_tokens; /* records, and the size of one */
    enum job_state state;      /* result of write_end */
    int64_t charged;           /* result of write_charge: ms */
    int64_t times;             /* result of write_shortage, with `bytes` */
};

/* Learn how long its epochs take, from what has come since the last time. */
static int write_pace(struct db_writer *writer, struct attempt *attempt, struct err *err)
{
    const struct job_turn *turn = attempt->setup->turn;
    const int64_t first_at = atomic_load(&turn->first_at), at = atomic_load(&turn->epoch_at);
    const int64_t epochs = atomic_load(&turn->epoch) - atomic_load(&turn->first_epoch);
    const int64_t ms = at - attempt->learned_at;
    double start = -1, stop = -1;
    if (!first_at || (attempt->ended ? !epochs : ms < ATTEMPT_PACE_MS))
        return 0;
    if (attempt->ended) {
        const double epoch_ms = (double)(at - first_at) / (double)epochs;
        start = fmax((double)attempt->start_ms, (double)(first_at - attempt->since) -
                                                    (double)(attempt->brought - 1) * epoch_ms);
        if (attempt->end == JOB_END_SUCCEEDED)
            stop = (double)(clock_monotonic_ms() - at) / 1e3;
    }
    if (step_times_add(writer, attempt->job->id, attempt->setup->device, (double)ms / 1e3,
                       (double)(atomic_load(&turn->epoch) - attempt->learned), start / 1e3, stop,
                       err) < 0)
        return -1;
    attempt->learned = atomic_load(&turn->epoch);
    attempt->learned_at = at;
    return 0;
}

/* Charge the job and its user for the time on the device since the last charge. */
static int write_charge(struct db_writer *writer, void *arg, struct err *err)
{
    struct attempt *attempt = ((struct attempt_write *)arg)->attempt;
    const struct job_run *setup = attempt->setup;
    const int64_t now = clock_monotonic_ms(), ms = now - attempt->charged;
    const struct fair_rules rules = {.half_life = (double)setup->settings->use_days * 86400};
    struct account row = {0};
    snprintf(row.user, sizeof row.user, "%s", attempt->job->user);
    snprintf(row.kind, sizeof row.kind, "%s", setup->kind);
    if (account_read(writer, &row, err) < 0)
        return -1;
    struct fair_account account = {
        .virtual = row.virtual, .used = row.used, .used_at = (double)row.used_at / 1e6};
    const double seconds = (double)ms / 1e3 * atomic_load(&setup->turn->part);
    fair_charge(&rules, &account, atomic_load(&setup->turn->share), seconds,
                (double)db_now() / 1e6);
    row.virtual = account.virtual;
    row.used = account.used;
    row.used_at = db_now();
    if (account_write(writer, &row, err) < 0 ||
        job_charge(writer, attempt->job->id, ms, 0, 0, err) < 0 ||
        limits_charge(writer, row.user, ms, err) < 0 || write_pace(writer, attempt, err) < 0)
        return -1;
    ((struct attempt_write *)arg)->charged = now;
    return 0;
}

static int write_claim(struct db_writer *writer, void *arg, struct err *err)
{
    const struct attempt_write *write = arg;
    return job_claim(writer, write->text, write->attempt->setup->device, err);
}

static int write_started(struct db_writer *writer, void *arg, struct err *err)
{
    const struct attempt_write *write = arg;
    return job_started(writer, write->attempt->job->id, write->text, write->bytes, err);
}

/* The last one is forgotten, so that a retry has as many again. */
static int write_shortage(struct db_writer *writer, void *arg, struct err *err)
{
    struct attempt_write *write = arg;
    const char *id = write->attempt->job->id;
    if (shortages_add(writer, id, write->attempt->job->memory_bytes,
                      write->attempt->setup->most_bytes, &write->times, &write->bytes, err) < 0)
        return -1;
    return write->times > ATTEMPT_SHORTAGES ? shortages_clear(writer, id, err) : 0;
}

/* With the first records of a run the job has had enough memory. */
static int write_epochs(struct db_writer *writer, void *arg, struct err *err)
{
    const struct attempt_write *write = arg;
    const struct attempt *attempt = write->attempt;
    if (attempt->stored == attempt->job->epoch &&
        shortages_clear(writer, attempt->job->id, err) < 0)
        return -1;
    return epochs_append(writer, attempt->job->id, write->from, write->n, attempt->values,
                         write->n_values, attempt->tokens, write->n_tokens, err);
}

static int write_end(struct db_writer *writer, void *arg, struct err *err)
{
    struct attempt_write *write = arg;
    const struct attempt *attempt = write->attempt;
    const int64_t stops = attempt->start_ms + attempt->stop_ms;
    if (write_charge(writer, write, err) < 0 ||
        job_charge(writer, attempt->job->id, 0, stops, attempt->stop_ms ? stops : 0, err) < 0 ||
        job_finish(writer, attempt->job->id, attempt->end, write->text, &write->state, err) < 0 ||
        usage_measured(writer, attempt->job->id, write->bytes, err) < 0)
        return -1;
    return attempt->unread ? job_set_unread(writer, attempt->job->id, err) : 0;
}

/* Store; try again as long as only the disk, memory or a full queue of the database is the
 * reason, and the server does not stop. */
static int attempt_store(struct attempt *attempt, db_operation *operation,
                         struct attempt_write *write, struct err *err)
{
    for (int tries = 0;; tries++) {
        if (db_call(attempt->setup->db, operation, write, err) == 0)
            return 0;
        int passing =
            err->code == ERR_UNAVAILABLE || err->code == ERR_IO || err->code == ERR_NO_MEMORY;
        if (!passing || atomic_load(attempt->setup->stopping))
            return -1;
        if (tries == 0)
            log_with(LOG_ERROR, LOG_FIELDS({"job", attempt->job->id}),
                     "job %s waits for the database: %s", attempt->job->id, err->message);
        poll(NULL, 0, ATTEMPT_TRY_AGAIN_MS);
    }
}

/* ---- ends ---- */

static void attempt_end(struct attempt *attempt, enum job_end end)
{
    attempt->ended = 1;
    attempt->end = end;
}

static void attempt_fail(struct attempt *attempt, enum job_end end, enum err_code code,
                         int64_t epoch, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void attempt_fail(struct attempt *attempt, enum job_end end, enum err_code code,
                         int64_t epoch, const char *format, ...)
{
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_set(&attempt->why, code, "%s", message);
    attempt->why_epoch = epoch;
    attempt_end(attempt, end);
}

/* End a trainer that cannot be used any more; `how` describes its end. */
static void attempt_drop_trainer(struct attempt *attempt, char *how, size_t size)
{
    trainer_process_end(attempt->setup->process, ATTEMPT_REAP_MS, how, size);
    attempt->setup->process = NULL;
}

/* The trainer is lost. That is its fault (JOB_END_FAULT) unless it was ordered to end; then
 * the order's end counts. */
static void attempt_lost(struct attempt *attempt, const struct err *err)
{
    char how[128];
    enum err_code code = err->code == ERR_IO ? ERR_DEVICE : err->code;
    attempt_drop_trainer(attempt, how, sizeof how);
    attempt_log(attempt, "the trainer was lost: %s (%s)", err->message, how);
    if (attempt->order == ORDER_NONE) {
        attempt->setup->fault = 1;
        attempt_fail(attempt, JOB_END_FAULT, code, attempt->stored, "the trainer was lost: %s (%s)",
                     err->message, how);
        return;
    }
    attempt_end(attempt, orders[attempt->order].end);
}

/* The trainer has obeyed the order. */
static void attempt_obeyed(struct attempt *attempt)
{
    attempt->stop_ms = clock_monotonic_ms() - attempt->ordered + 1; /* rounded up */
    attempt_end(attempt, orders[attempt->order].end);
}

/* A trainer that violates the protocol is treated as lost. */
static void attempt_protocol(struct attempt *attempt, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void attempt_protocol(struct attempt *attempt, const char *format, ...)
{
    char text[ERR_MESSAGE_MAX];
    struct err err = ERR_INIT;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(&err, ERR_PROTOCOL, "%s", text);
    attempt_lost(attempt, &err);
}

/* ---- messages ---- */

static void take_nothing(struct attempt *attempt, const struct message *message)
{
    (void)attempt;
    (void)message;
}

/* Back to the queue; no attempt is counted. The slot remembers the refusal and does not try
 * the job again for a while (slot.c). Clients read the reason, as of this attempt and of those
 * that are put off for it. */
static void attempt_put_off(struct attempt *attempt, enum reason_code code, const char *why)
{
    struct placement_refusal *refusal = &attempt->setup->refusal;
    memcpy(refusal->job, attempt->job->id, sizeof refusal->job);
    refusal->attempt = attempt->job->attempt;
    refusal->code = code;
    snprintf(refusal->why, sizeof refusal->why, "%s", why);
    if (redact_text(attempt->setup->settings, refusal->why))
        log_with(LOG_WARNING, LOG_FIELDS({"job", attempt->job->id}), "job %s: %s", attempt->job->id,
                 why);
    snprintf(attempt->waits, sizeof attempt->waits, "%s: %s", attempt->setup->device, refusal->why);
    attempt_end(attempt, JOB_END_REQUEUE);
}

/* The device does not compute the job's first batch as the CPU does (gpu/canary.h), so there is
 * nothing of it to keep, and the trainer exits. The job goes back and counts no attempt; the device
 * proves itself before it gets a job. If the proof holds and the two disagree again, the job has
 * failed. */
static void attempt_wrong(struct attempt *attempt, const struct message *message)
{
    struct job_run *setup = attempt->setup;
    char how[128];
    attempt_drop_trainer(attempt, how, sizeof how);
    setup->wrong = attempt->job->attempt;
    if (attempt->order != ORDER_NONE) {
        attempt_end(attempt, orders[attempt->order].end);
    } else if (setup->doubted == setup->wrong) {
        attempt_fail(attempt, JOB_END_FAILED, ERR_DEVICE_WRONG, message->epoch, "%s",
                     message->text);
    } else {
        snprintf(attempt->waits, sizeof attempt->waits, "%s", message->text);
        redact_text(setup->settings, attempt->waits); /* clients read it */
        attempt_end(attempt, JOB_END_REQUEUE);
    }
}

/* The token files of its text are missing or damaged: the job goes back, and reading.c has the
 * text read and admits the job again. No refusal, so that it can start at once then. */
static void attempt_unread(struct attempt *attempt)
{
    attempt->unread = 1;
    attempt_end(attempt, JOB_END_REQUEUE);
}

/* Determinism: a job continues with the same bits or not at all. A trainer that computes
 * differently is killed before it can write a checkpoint. */
static void attempt_refuse(struct attempt *attempt, const char *why)
{
    char how[128];
    attempt_drop_trainer(attempt, how, sizeof how);
    attempt_put_off(attempt, REASON_PROVENANCE, why);
}

/* 1 for errors of the machine's state, which may pass, not of the job: a full disk, a
 * checkpoint of another build. */
static int attempt_is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_IO;
}

/* Epoch of the first record that is not stored. */
static int64_t attempt_next(const struct attempt *attempt)
{
    const struct record_grid grid = {attempt->job->record_every, attempt->job->epochs};
    return record_grid_from(grid, attempt->stored + 1);
}

/* `started`: the facts that determine the bits. They are compared with the job's provenance,
 * or stored as it at the first start. */
static void take_started(struct attempt *attempt, const struct message *message)
{
    struct placement_facts *facts = &attempt->setup->facts;
    char why[PLACEMENT_WHY_MAX];
    struct err err = ERR_INIT;
    if (message->epoch < 0 || message->epoch > attempt_next(attempt)) {
        attempt_protocol(attempt, "started at epoch %lld, epoch %lld is the last stored",
                         (long long)message->epoch, (long long)attempt->stored);
        return;
    }
    snprintf(facts->device, sizeof facts->device, "%s", message->name);
    snprintf(facts->isa, sizeof facts->isa, "%s", message->isa);
    snprintf(facts->build, sizeof facts->build, "%s", message->build);
    facts->threads = message->threads;
    if (!placement_continues(attempt->job, facts, message->precision, why, sizeof why)) {
        attempt_refuse(attempt, why);
        return;
    }
    char *provenance = placement_provenance(facts, message->precision, attempt->setup->proof,
                                            attempt->job->corpus_sha256);
    struct attempt_write write = {.attempt = attempt, .text = provenance, .bytes = message->bytes};
    int stored = provenance ? attempt_store(attempt, write_started, &write, &err)
                            : err_set(&err, ERR_NO_MEMORY, "no memory for the provenance");
    free(provenance);
    if (stored < 0) {
        attempt_lost(attempt, &err);
        return;
    }
    atomic_store(&attempt->setup->turn->started, clock_monotonic_ms());
    attempt->start_ms = clock_monotonic_ms() - attempt->since + 1;
    attempt_log(attempt, "started at epoch %lld on %s: %s, %s, %lld threads, build %s",
                (long long)message->epoch, message->name, message->precision, message->isa,
                (long long)message->threads, message->build);
}

/* Unpack the payload, which interleaves records and token means, into two arrays. */
static int attempt_unpack(struct attempt *attempt, const struct message *message, int n)
{
    const size_t n_values = (size_t)message->n_values, n_tokens = (size_t)message->n_tokens;
    free(attempt->values);
    free(attempt->tokens);
    attempt->values = malloc((size_t)n * n_values * sizeof *attempt->values + 1);
    attempt->tokens = malloc((size_t)n * n_tokens * sizeof *attempt->tokens + 1);
    if (!attempt->values || !attempt->tokens)
        return -1;
    for (int i = 0; i < n; i++)
        message_record(message, i, attempt->values + (size_t)i * n_values,
                       attempt->tokens + (size_t)i * n_tokens);
    return 0;
}

/* When its records came. The writer reads it while this thread waits. */
static void attempt_pace(struct attempt *attempt, int64_t from, int64_t to)
{
    struct job_turn *turn = attempt->setup->turn;
    const int64_t now = clock_monotonic_ms();
    if (!atomic_load(&turn->first_at)) {
        attempt->brought = to - from + 1;
        attempt->learned = to;
        attempt->learned_at = now;
        atomic_store(&turn->first_epoch, to);
        atomic_store(&turn->first_at, now);
    }
    atomic_store(&turn->epoch, to);
    atomic_store(&turn->epoch_at, now);
}

/* `epochs`: store the records. A replayed epoch must equal the stored record bit for bit
 * (epochs_append); a difference ends the job as nondeterministic. */
static void take_epochs(struct attempt *attempt, const struct message *message)
{
    struct err err = ERR_INIT;
    struct attempt_write write = {.attempt = attempt,
                                  .from = message->from,
                                  .n = (int)message->n,
                                  .n_values = (int)message->n_values,
                                  .n_tokens = (int)message->n_tokens};
    if (attempt_unpack(attempt, message, write.n) < 0) {
        err_set(&err, ERR_NO_MEMORY, "no memory for %d records", write.n);
        attempt_lost(attempt, &err);
        return;
    }
    if (attempt_store(attempt, write_epochs, &write, &err) == 0) {
        const struct record_grid grid = {attempt->job->record_every, attempt->job->epochs};
        const int64_t last = record_grid_ahead(grid, message->from, message->n - 1);
        attempt_pace(attempt, message->from, last);
        if (last > attempt->stored)
            attempt->stored = last;
        return;
    }
    if (err.code == ERR_NONDETERMINISTIC) {
        char how[128];
        attempt_drop_trainer(attempt, how, sizeof how);
        attempt_fail(attempt, JOB_END_FAILED, err.code, message->from, "%s", err.message);
    } else {
        attempt_lost(attempt, &err);
    }
}

static void take_done(struct attempt *attempt, const struct message *message)
{
    if (attempt->stored != attempt->job->epochs) {
        attempt_protocol(attempt, "done at epoch %lld, but epoch %lld of %lld is the last stored",
                         (long long)message->epoch, (long long)attempt->stored,
                         (long long)attempt->job->epochs);
        return;
    }
    attempt_end(attempt, JOB_END_SUCCEEDED);
}

static void take_obeyed(struct attempt *attempt, const struct message *message)
{
    int expected = attempt->order != ORDER_NONE &&
                   (message->type == MESSAGE_CANCELLED) == (attempt->order == ORDER_CANCEL);
    if (expected)
        attempt_obeyed(attempt);
    else
        attempt_protocol(attempt, "the trainer ended the job unasked");
}

/* 1 if the text's token files are damaged. They are removed then. */
static int attempt_tokens_damaged(const struct attempt *attempt)
{
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    const int damaged =
        spec_parse(attempt->job->spec, strlen(attempt->job->spec), &spec, &err) == 0 &&
        datasets_remove_damaged(attempt->setup->datasets, spec);
    spec_free(spec);
    return damaged;
}

/* There was too little memory when the job was opened: others have taken some since it was placed, or
 * it needs more than it was taken to. It goes back with a higher estimate, and fails in the end. */
static void attempt_lacks_memory(struct attempt *attempt, const struct message *message)
{
    struct attempt_write write = {.attempt = attempt};
    struct err err = ERR_INIT;
    char why[PLACEMENT_WHY_MAX];
    if (attempt_store(attempt, write_shortage, &write, &err) < 0) {
        attempt_lost(attempt, &err);
        return;
    }
    if (write.times > ATTEMPT_SHORTAGES) {
        attempt_fail(attempt, JOB_END_FAILED, ERR_NO_MEMORY, message->epoch,
                     "out of memory %lld times when it was opened, at last with %.2f GB reserved:"
                     " %s",
                     (long long)write.times, (double)attempt->job->memory_bytes / 1e9,
                     message->text);
        return;
    }
    snprintf(why, sizeof why, "out of memory: %.200s; %.2f GB are reserved for it next time",
             message->text, (double)write.bytes / 1e9);
    attempt_put_off(attempt, REASON_MEMORY, why);
}

/* `failed`: of the device (the trainer exits, so it is lost), of the machine (put off), or of
 * the job. Without a record yet the job was only opened. */
static void take_failed(struct attempt *attempt, const struct message *message)
{
    struct err err = ERR_INIT;
    enum err_code code = err_from_name(message->code);
    if (code == ERR_DEVICE) {
        err_set(&err, code, "%s", message->text);
        attempt_lost(attempt, &err);
        return;
    }
    if (code == ERR_DEVICE_WRONG)
        attempt_wrong(attempt, message);
    else if (code == ERR_CORRUPT && attempt_tokens_damaged(attempt))
        attempt_unread(attempt);
    else if (code == ERR_NO_MEMORY && attempt->stored == attempt->job->epoch)
        attempt_lacks_memory(attempt, message);
    else if (attempt_is_passing(code))
        attempt_put_off(attempt, REASON_REFUSED, message->text);
    else
        attempt_fail(attempt, JOB_END_FAILED, code, message->epoch, "%s", message->text);
}

static void take_log(struct attempt *attempt, const struct message *message)
{
    attempt_log(attempt, "%s", message->text);
}

static void take_notice(struct attempt *attempt, const struct message *message)
{
    snprintf(attempt->setup->notice, sizeof attempt->setup->notice, "%s", message->text);
}

static void (*const takes[MESSAGE_TYPES])(struct attempt *, const struct message *) = {
    [MESSAGE_STARTED] = take_started,  [MESSAGE_ALIVE] = take_nothing,
    [MESSAGE_EPOCHS] = take_epochs,    [MESSAGE_CHECKPOINTED] = take_nothing,
    [MESSAGE_DONE] = take_done,        [MESSAGE_STOPPED] = take_obeyed,
    [MESSAGE_CANCELLED] = take_obeyed, [MESSAGE_FAILED] = take_failed,
    [MESSAGE_LOG] = take_log,          [MESSAGE_NOTICE] = take_notice,
};

static void attempt_take(struct attempt *attempt, const struct message *message)
{
    if (!takes[message->type])
        attempt_protocol(attempt, "message %d does not belong in a run", (int)message->type);
    else if (strcmp(message->job, attempt->job->id) != 0)
        attempt_protocol(attempt, "a message speaks of job %.36s", message->job);
    else
        takes[message->type](attempt, message);
}

/* ---- orders ---- */

static void attempt_order(struct attempt *attempt, enum order order)
{
    struct err err = ERR_INIT;
    attempt->order = order;
    attempt->ordered = clock_monotonic_ms();
    attempt_log(attempt, "order: %s", orders[order].word);
    if (conversation_order(&attempt->conversation, orders[order].message, &err) < 0)
        attempt_lost(attempt, &err);
}

/* Time (ms) at which max_seconds are over, counted over all runs of the job; 0: never. */
static int64_t attempt_limit(const struct attempt *attempt, int64_t max_seconds)
{
    const int64_t before = attempt->job->device_ms; /* at the claim */
    return max_seconds ? attempt->since + max_seconds * 1000 - before : 0;
}

/* The order that a request in the row asks for. The row is read only after a wake; its limit may
 * have changed too. If it cannot be read, `look` stays set and attempt_look_again sets a time for
 * the next try. */
static enum order attempt_requested(struct attempt *attempt)
{
    struct job *job;
    struct err err = ERR_INIT;
    eventfd_t woken;
    if (eventfd_read(attempt->setup->wake_fd, &woken) == 0)
        attempt->look = 1;
    if (!attempt->look || job_get(attempt->setup->reader, attempt->job->id, &job, &err) < 0)
        return ORDER_NONE;
    const enum order order = job->cancel_requested ? ORDER_CANCEL
                             : job->hold_requested ? ORDER_HOLD
                                                   : ORDER_NONE;
    attempt->limit = attempt_limit(attempt, job->max_seconds);
    job_free(job);
    attempt->look = 0;
    return order;
}

/* The order that the server, the scheduler or max_seconds require. */
static enum order attempt_due(const struct attempt *attempt)
{
    static const enum order ways[] = {
        [WAY_ON] = ORDER_NONE,
        [WAY_SLICE] = ORDER_SLICE,
        [WAY_PAUSE] = ORDER_PAUSE,
        [WAY_HOURS] = ORDER_HOURS,
    };
    const int way = atomic_load(&attempt->setup->turn->way);
    if (atomic_load(attempt->setup->stopping))
        return ORDER_STOP;
    if (attempt->limit && clock_monotonic_ms() >= attempt->limit)
        return ORDER_LIMIT;
    return ways[way];
}

/* Charge now and then, so that a crash of the server loses little. A charge that cannot be stored
 * is part of the next one. */
static void attempt_charge(struct attempt *attempt)
{
    struct attempt_write write = {.attempt = attempt};
    struct err err = ERR_INIT;
    if (clock_monotonic_ms() < attempt->charged + ATTEMPT_CHARGE_MS ||
        db_call(attempt->setup->db, write_charge, &write, &err) < 0)
        return;
    attempt->charged = write.charged;
    atomic_store(&attempt->setup->turn->charged, write.charged);
}

/* Give the order that is due. Only the first order counts, but for a cancel after a stop: the job
 * ends as cancelled then (job_finish). */
static void attempt_look(struct attempt *attempt)
{
    enum order order = attempt_requested(attempt);
    attempt_charge(attempt);
    if (attempt->order != ORDER_NONE)
        return;
    if (order == ORDER_NONE)
        order = attempt_due(attempt);
    if (order != ORDER_NONE)
        attempt_order(attempt, order);
}

/* Time (ms) at which attempt_look has something to do without a wake. */
static int64_t attempt_look_again(const struct attempt *attempt)
{
    int64_t until = attempt->charged + ATTEMPT_CHARGE_MS;
    const int64_t again = clock_monotonic_ms() + ATTEMPT_TRY_AGAIN_MS;
    if (until < again)
        until = again;
    if (attempt->order == ORDER_NONE && attempt->limit && attempt->limit < until)
        until = attempt->limit;
    if (attempt->look && again < until)
        until = again;
    return until;
}

static void attempt_loop(struct attempt *attempt)
{
    struct message message = {0};
    while (!attempt->ended) {
        struct err err = ERR_INIT;
        attempt_look(attempt);
        if (attempt->ended)
            break;
        int got = conversation_receive(&attempt->conversation, attempt_look_again(attempt),
                                       attempt->setup->wake_fd, &message, &err);
        if (got > 0)
            attempt_take(attempt, &message);
        else if (got < 0)
            attempt_lost(attempt, &err);
    }
    message_clear(&message);
}

/* ---- from claim to end ---- */

/* The token files from which the trainer takes the text. ERR_UNAVAILABLE if they are gone and
 * the text is to be read again. */
static int attempt_find_text(struct attempt *attempt, const struct spec *spec, struct err *err)
{
    if (strcmp(attempt->job->corpus_sha256, TEXT_SYNTHETIC) == 0)
        return 0;
    attempt->unread = datasets_prepare(attempt->setup->datasets, spec, err) != 0;
    return attempt->unread ? -1
                           : datasets_folder(attempt->setup->settings, spec->corpus.id,
                                             attempt->corpus, sizeof attempt->corpus, err);
}

/* Prepare the folder, find the text and the model to start from, and send `run`. -1 is an error
 * of the preparation; a trainer that is lost while it is sent to ends the attempt instead. */
static int attempt_begin(struct attempt *attempt, struct err *err)
{
    struct spec *spec = NULL;
    if (attempt_prepare(attempt, err) < 0 ||
        spec_parse(attempt->job->spec, strlen(attempt->job->spec), &spec, err) < 0)
        return -1;
    const int is_short = attempt_find_text(attempt, spec, err) ||
                         (spec->init_from[0] && attempt_find_model(attempt, spec->init_from, err));
    spec_free(spec);
    if (is_short)
        return -1;
    attempt_log(attempt, "attempt %d on %s, trainer %d", attempt->job->attempt,
                attempt->setup->device, trainer_process_pid(attempt->setup->process));
    struct message message = {.type = MESSAGE_RUN,
                              .spec = attempt->job->spec,
                              .corpus = attempt->corpus,
                              .model = attempt->model,
                              .dir = attempt->folder,
                              .resume = attempt_next(attempt),
                              .checkpoint_seconds = attempt->setup->settings->checkpoint_seconds};
    memcpy(message.job, attempt->job->id, sizeof message.job);
    struct err lost = ERR_INIT;
    if (conversation_start(&attempt->conversation, attempt->setup->settings,
                           attempt->setup->process, &message, &lost) < 0)
        attempt_lost(attempt, &lost);
    return 0;
}

/* Error of a failed attempt as JSON {"code", "message", "epoch"} (malloc), or NULL if it did
 * not fail. A message that was cut inside a UTF-8 sequence ends with U+FFFD. */
static char *attempt_error(const struct attempt *attempt)
{
    struct emit json;
    struct err why = attempt->why;
    if ((attempt->end != JOB_END_FAILED && attempt->end != JOB_END_FAULT) || emit_open_text(&json))
        return NULL;
    if (redact_err(attempt->setup->settings, &why)) /* clients read it */
        log_with(LOG_WARNING, LOG_FIELDS({"job", attempt->job->id}), "job %s: %s", attempt->job->id,
                 attempt->why.message);
    emit_object(&json, NULL);
    emit_text(&json, "code", err_name(attempt->why.code));
    emit_text(&json, "message", why.message);
    emit_integer(&json, "epoch", attempt->why_epoch);
    emit_end(&json);
    return emit_close_text(&json);
}

/* Store the end. job_finish decides the state: with JOB_END_FAULT `queued` or `failed`, and
 * `cancelled` if a cancel was requested. */
static void attempt_finish(struct attempt *attempt)
{
    struct err err = ERR_INIT;
    char *error = attempt_error(attempt);
    const char *why = error ? attempt->why.message : attempt->waits;
    const struct job_sizes files = job_files_measure(attempt->setup->settings, attempt->job->id);
    struct attempt_write write = {.attempt = attempt, .text = error, .bytes = files.total};
    if (attempt_store(attempt, write_end, &write, &err) < 0) {
        log_with(LOG_ERROR, LOG_FIELDS({"job", attempt->job->id}),
                 "job %s: its end could not be stored: %s", attempt->job->id, err.message);
    } else {
        attempt_log(attempt, "%s at epoch %lld%s%s", job_state_name(write.state),
                    (long long)attempt->stored, why[0] ? ": " : "", why);
        log_with(LOG_INFO,
                 LOG_FIELDS({"job", attempt->job->id}, {"state", job_state_name(write.state)}),
                 "job %s %s at epoch %lld%s%s", attempt->job->id, job_state_name(write.state),
                 (long long)attempt->stored, why[0] ? ": " : "", why);
    }
    free(error);
}

/* Read the job again: a retry may have changed it between the first reading and the claim.
 * From the claim on only this thread changes it. Then send it to the trainer. */
static void attempt_start(struct attempt *attempt)
{
    struct job *claimed = NULL;
    struct err err = ERR_INIT;
    if (job_get(attempt->setup->reader, attempt->job->id, &claimed, &err) < 0) {
        attempt_put_off(attempt, REASON_REFUSED, err.message);
        return;
    }
    job_free(attempt->job);
    attempt->job = claimed;
    attempt->stored = claimed->epoch;
    attempt->limit = attempt_limit(attempt, claimed->max_seconds);
    if (attempt_begin(attempt, &err) == 0)
        return;
    if (attempt->unread)
        attempt_unread(attempt);
    else if (attempt_is_passing(err.code))
        attempt_put_off(attempt, REASON_REFUSED, err.message);
    else
        attempt_fail(attempt, JOB_END_FAILED, err.code, attempt->stored, "%s", err.message);
}

int job_run(struct job_run *setup, const char *job, struct err *err)
{
    struct attempt attempt = {.setup = setup, .why = ERR_INIT};
    struct attempt_write claim = {.attempt = &attempt, .text = job};
    if (job_get(setup->reader, job, &attempt.job, err) < 0)
        return -1;
    if (db_call(setup->db, write_claim, &claim, err) < 0) {
        job_free(attempt.job);
        return -1;
    }
    attempt.since = attempt.charged = clock_monotonic_ms();
    atomic_store(&setup->turn->charged, attempt.charged);
    atomic_store(&setup->turn->first_at, 0);
    atomic_store(&setup->turn->epoch_at, 0);
    atomic_store(&setup->turn->since, attempt.since);
    attempt_start(&attempt);
    attempt_loop(&attempt);
    attempt_finish(&attempt);
    if (attempt.log)
        fclose(attempt.log);
    free(attempt.values);
    free(attempt.tokens);
    job_free(attempt.job);
    return 0;
}
