/* job_run: see job_run.h. One table says what each message of the trainer
 * does, another what each order (cancel, stop, out of time) sends and how the
 * job ends when the order is obeyed, overdue, or the trainer dies under it.
 * A database that cannot be written now (full disk) is tried again every second;
 * the trainer meanwhile waits on its full socket. */
#include "server/queue/job_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/log.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "lab/text.h"

enum {
    RUN_PATH_MAX = SETTINGS_TEXT_MAX + 128,
    RUN_LOG_MAX = 16 << 20,  /* bytes of a job's log; a trainer in a loop fills no disk */
    RUN_REAP_MS = 200,       /* for a lost trainer to say how it ended */
    RUN_TRY_AGAIN_MS = 1000, /* between two tries to store something */
    RUN_FOLDER_DEPTH = 4     /* of a job's folder: files/model/... */
};

enum order { ORDER_NONE, ORDER_CANCEL, ORDER_STOP, ORDER_TIMEOUT };

static const struct {
    enum message_type message;
    enum job_end end;
    const char *word;
} orders[] = {
    [ORDER_CANCEL] = {MESSAGE_CANCEL, JOB_END_CANCELLED, "cancelled"},
    [ORDER_STOP] = {MESSAGE_STOP, JOB_END_REQUEUE, "stopped, goes on with the next start"},
    [ORDER_TIMEOUT] = {MESSAGE_CANCEL, JOB_END_FAILED, "out of time"},
};

struct run {
    struct job_run *setup;
    struct job *job;
    int64_t max_seconds;
    FILE *log;
    char folder[RUN_PATH_MAX], corpus[RUN_PATH_MAX];
    char model[RUN_PATH_MAX + 512]; /* that it starts from, or "" */
    int look;                       /* a cancel may have been asked for */
    enum order order;
    int64_t order_deadline; /* ms; kill the trainer then */
    int64_t limit;          /* ms; max_seconds are over then, 0 = never */
    int64_t heard_at;       /* ms; last message */
    int64_t stored;         /* last epoch in the database */
    double *values;         /* one message's records, taken apart */
    float *tokens;
    int ended;
    enum job_end end;
    struct err why; /* of FAILED and FAULT */
    int64_t why_epoch;
    char waits[PLACEMENT_WAITS_MAX]; /* why it goes back to the queue, or "" */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the job's folder and log ---- */

static int make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return 0;
    return err_set_errno(err, ERR_IO, "%s", path);
}

/* Removes what is in a folder, but for one name. Follows no links. */
static void clear_folder(int parent, const char *name, const char *kept, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *found = entry->d_name;
        if (strcmp(found, ".") == 0 || strcmp(found, "..") == 0 || strcmp(found, kept) == 0)
            continue;
        if (unlinkat(fd, found, 0) == 0 || depth == 0)
            continue;
        clear_folder(fd, found, "", depth - 1);
        unlinkat(fd, found, AT_REMOVEDIR);
    }
    closedir(folder);
}

/* data/jobs/<id>, empty but for the log when the job starts anew. */
static int run_prepare(struct run *run, struct err *err)
{
    const char *data = run->setup->settings->data;
    char path[RUN_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/jobs", data);
    snprintf(run->folder, sizeof run->folder, "%s/jobs/%s", data, run->job->id);
    if (make_folder(path, err) < 0 || make_folder(run->folder, err) < 0)
        return -1;
    if (run->job->epoch < 0)
        clear_folder(AT_FDCWD, run->folder, "log", RUN_FOLDER_DEPTH);
    if (strcmp(run->job->corpus_sha256, TEXT_SYNTHETIC) != 0)
        snprintf(run->corpus, sizeof run->corpus, "%s/corpora/%s", data, run->job->corpus_sha256);
    snprintf(path, sizeof path, "%s/log", run->folder);
    run->log = fopen(path, "ae");
    if (!run->log)
        return err_set_errno(err, ERR_IO, "%s", path);
    setlinebuf(run->log);
    return 0;
}

/* A log that cannot be written does not stop the training. */
static void run_log(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void run_log(struct run *run, const char *format, ...)
{
    char stamp[32];
    struct tm utc;
    time_t now = time(NULL);
    if (!run->log || ftell(run->log) > RUN_LOG_MAX)
        return;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    fprintf(run->log, "%s ", stamp);
    va_list args;
    va_start(args, format);
    vfprintf(run->log, format, args);
    va_end(args);
    putc('\n', run->log);
    clearerr(run->log);
}

/* The last model of the job that this one starts from: the highest epoch there is. */
static int run_find_model(struct run *run, const char *id, struct err *err)
{
    char path[RUN_PATH_MAX], last[256] = "";
    snprintf(path, sizeof path, "%s/jobs/%s/model", run->setup->settings->data, id);
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
    snprintf(run->model, sizeof run->model, "%s/%s", path, last);
    return 0;
}

/* ---- storing ---- */

struct run_write {
    struct run *run;
    const char *text; /* provenance, or error */
    int64_t bytes, from;
    int n, n_values, n_tokens;
    enum job_state state;
};

static int write_claim(struct db_writer *writer, void *arg, struct err *err)
{
    const struct run_write *write = arg;
    return job_claim(writer, write->text, write->run->setup->device, err);
}

static int write_started(struct db_writer *writer, void *arg, struct err *err)
{
    const struct run_write *write = arg;
    return job_started(writer, write->run->job->id, write->text, write->bytes, err);
}

static int write_epochs(struct db_writer *writer, void *arg, struct err *err)
{
    const struct run_write *write = arg;
    const struct run *run = write->run;
    return epochs_append(writer, run->job->id, write->from, write->n, run->values, write->n_values,
                         run->tokens, write->n_tokens, err);
}

static int write_end(struct db_writer *writer, void *arg, struct err *err)
{
    struct run_write *write = arg;
    const struct run *run = write->run;
    if (job_finish(writer, run->job->id, run->end, write->text, &write->state, err) < 0)
        return -1;
    return run->waits[0] ? job_set_waits(writer, run->job->id, run->waits, err) : 0;
}

/* Stores, trying again for as long as only the disk or memory is in the way. */
static int run_store(struct run *run, db_operation *operation, struct run_write *write,
                     struct err *err)
{
    for (int tries = 0;; tries++) {
        if (db_call(run->setup->db, operation, write, err) == 0)
            return 0;
        int passing =
            err->code == ERR_UNAVAILABLE || err->code == ERR_IO || err->code == ERR_NO_MEMORY;
        if (!passing || atomic_load(run->setup->stopping))
            return -1;
        if (tries == 0)
            log_line(LOG_ERROR, "job %s waits for the database: %s", run->job->id, err->message);
        poll(NULL, 0, RUN_TRY_AGAIN_MS);
    }
}

/* ---- ends ---- */

static void run_end(struct run *run, enum job_end end)
{
    run->ended = 1;
    run->end = end;
}

static void run_fail(struct run *run, enum job_end end, enum err_code code, int64_t epoch,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
static void run_fail(struct run *run, enum job_end end, enum err_code code, int64_t epoch,
                     const char *format, ...)
{
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_set(&run->why, code, "%s", message);
    run->why_epoch = epoch;
    run_end(run, end);
}

/* The trainer cannot be used any more: end it, and learn how it ended. */
static void run_drop_trainer(struct run *run, char *how, size_t size)
{
    trainer_process_end(run->setup->process, RUN_REAP_MS, how, size);
    run->setup->process = NULL;
}

/* Lost by its own fault, unless it was about to end anyway. */
static void run_lost(struct run *run, const struct err *err)
{
    char how[128];
    enum err_code code = err->code == ERR_IO ? ERR_DEVICE : err->code;
    run_drop_trainer(run, how, sizeof how);
    run_log(run, "the trainer was lost: %s (%s)", err->message, how);
    if (run->order == ORDER_NONE) {
        run->setup->fault = 1;
        run_fail(run, JOB_END_FAULT, code, run->stored, "the trainer was lost: %s (%s)",
                 err->message, how);
        return;
    }
    if (run->order == ORDER_TIMEOUT)
        run_fail(run, JOB_END_FAILED, ERR_TIMEOUT, run->stored, "max_seconds %lld are over",
                 (long long)run->max_seconds);
    run_end(run, orders[run->order].end);
}

/* The order was obeyed. */
static void run_obeyed(struct run *run, const struct message *message)
{
    if (run->order == ORDER_TIMEOUT)
        run_fail(run, JOB_END_FAILED, ERR_TIMEOUT, message->epoch, "max_seconds %lld are over",
                 (long long)run->max_seconds);
    run_end(run, orders[run->order].end);
}

static void run_protocol(struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void run_protocol(struct run *run, const char *format, ...)
{
    char text[ERR_MESSAGE_MAX];
    struct err err;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(&err, ERR_PROTOCOL, "%s", text);
    run_lost(run, &err);
}

/* ---- messages ---- */

static void take_nothing(struct run *run, const struct message *message)
{
    (void)run;
    (void)message;
}

/* Back to the queue without blame, to be tried again later. */
static void run_put_off(struct run *run, const char *why)
{
    struct placement_refusal *refusal = &run->setup->refusal;
    memcpy(refusal->job, run->job->id, sizeof refusal->job);
    refusal->attempt = run->job->attempt;
    snprintf(refusal->why, sizeof refusal->why, "%s", why);
    snprintf(run->waits, sizeof run->waits, "%s: %s", run->setup->device, refusal->why);
    run_end(run, JOB_END_REQUEUE);
}

/* Same bits or not at all: a trainer that computes otherwise is killed before it
 * can write a checkpoint. */
static void run_refuse(struct run *run, const char *why)
{
    char how[128];
    run_drop_trainer(run, how, sizeof how);
    run_put_off(run, why);
}

/* What is the machine's state, not the job's: a disk without room, a checkpoint
 * of another build. */
static int run_is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_IO;
}

static void take_started(struct run *run, const struct message *message)
{
    struct placement_facts *facts = &run->setup->facts;
    char why[PLACEMENT_WHY_MAX];
    struct err err;
    if (message->epoch < 0 || message->epoch > run->stored + 1) {
        run_protocol(run, "started at epoch %lld, epoch %lld is the last stored",
                     (long long)message->epoch, (long long)run->stored);
        return;
    }
    snprintf(facts->device, sizeof facts->device, "%s", message->name);
    snprintf(facts->isa, sizeof facts->isa, "%s", message->isa);
    snprintf(facts->build, sizeof facts->build, "%s", message->build);
    facts->threads = message->threads;
    if (!placement_continues(run->job, facts, message->precision, why, sizeof why)) {
        run_refuse(run, why);
        return;
    }
    char *provenance = placement_provenance(facts, message->precision, run->job->corpus_sha256);
    struct run_write write = {.run = run, .text = provenance, .bytes = message->bytes};
    int stored = provenance ? run_store(run, write_started, &write, &err)
                            : err_set(&err, ERR_NO_MEMORY, "no memory for the provenance");
    free(provenance);
    if (stored < 0) {
        run_lost(run, &err);
        return;
    }
    run_log(run, "started at epoch %lld on %s: %s, %s, %lld threads, build %s",
            (long long)message->epoch, message->name, message->precision, message->isa,
            (long long)message->threads, message->build);
}

/* The payload's records and token means into arrays of their own: behind an odd
 * number of tokens a double would not be aligned. */
static int run_unpack(struct run *run, const struct message *message, int n)
{
    size_t of_values = (size_t)message->n_values * sizeof *run->values;
    size_t of_tokens = (size_t)message->n_tokens * sizeof *run->tokens;
    const char *from = message->payload;
    free(run->values);
    free(run->tokens);
    run->values = malloc((size_t)n * of_values + 1);
    run->tokens = malloc((size_t)n * of_tokens + 1);
    if (!run->values || !run->tokens)
        return -1;
    for (int i = 0; i < n; i++, from += of_values + of_tokens) {
        memcpy((char *)run->values + (size_t)i * of_values, from, of_values);
        memcpy((char *)run->tokens + (size_t)i * of_tokens, from + of_values, of_tokens);
    }
    return 0;
}

static void take_epochs(struct run *run, const struct message *message)
{
    struct err err;
    struct run_write write = {.run = run,
                              .from = message->from,
                              .n = (int)(message->to - message->from + 1),
                              .n_values = (int)message->n_values,
                              .n_tokens = (int)message->n_tokens};
    if (run_unpack(run, message, write.n) < 0) {
        err_set(&err, ERR_NO_MEMORY, "no memory for %d records", write.n);
        run_lost(run, &err);
        return;
    }
    if (run_store(run, write_epochs, &write, &err) == 0) {
        if (message->to > run->stored)
            run->stored = message->to;
        return;
    }
    if (err.code == ERR_NONDETERMINISTIC) {
        char how[128];
        run_drop_trainer(run, how, sizeof how);
        run_fail(run, JOB_END_FAILED, err.code, message->from, "%s", err.message);
    } else {
        run_lost(run, &err);
    }
}

static void take_done(struct run *run, const struct message *message)
{
    if (run->stored != run->job->epochs) {
        run_protocol(run, "done at epoch %lld, but epoch %lld of %lld is the last stored",
                     (long long)message->epoch, (long long)run->stored,
                     (long long)run->job->epochs);
        return;
    }
    run_end(run, JOB_END_SUCCEEDED);
}

static void take_obeyed(struct run *run, const struct message *message)
{
    int expected = run->order != ORDER_NONE &&
                   (message->type == MESSAGE_STOPPED) == (run->order == ORDER_STOP);
    if (expected)
        run_obeyed(run, message);
    else
        run_protocol(run, "the trainer ended the job unasked");
}

static void take_failed(struct run *run, const struct message *message)
{
    struct err err;
    enum err_code code = err_from_name(message->code);
    if (code == ERR_DEVICE) {
        err_set(&err, code, "%s", message->text);
        run_lost(run, &err);
        return;
    }
    if (run_is_passing(code) && run->order != ORDER_TIMEOUT)
        run_put_off(run, message->text);
    else
        run_fail(run, JOB_END_FAILED, code, message->epoch, "%s", message->text);
}

static void take_log(struct run *run, const struct message *message)
{
    run_log(run, "%s", message->text);
}

static void (*const takes[MESSAGE_TYPES])(struct run *, const struct message *) = {
    [MESSAGE_STARTED] = take_started,  [MESSAGE_ALIVE] = take_nothing,
    [MESSAGE_EPOCHS] = take_epochs,    [MESSAGE_CHECKPOINTED] = take_nothing,
    [MESSAGE_DONE] = take_done,        [MESSAGE_STOPPED] = take_obeyed,
    [MESSAGE_CANCELLED] = take_obeyed, [MESSAGE_FAILED] = take_failed,
    [MESSAGE_LOG] = take_log,
};

static void run_take(struct run *run, const struct message *message)
{
    if (!takes[message->type])
        run_protocol(run, "message %d does not belong in a run", (int)message->type);
    else if (strcmp(message->job, run->job->id) != 0)
        run_protocol(run, "a message speaks of job %.36s", message->job);
    else
        takes[message->type](run, message);
}

/* ---- orders ---- */

static void run_order(struct run *run, enum order order)
{
    struct message message = {.type = orders[order].message};
    struct err err;
    memcpy(message.job, run->job->id, sizeof message.job);
    run->order = order;
    run->order_deadline = now_ms() + run->setup->settings->cancel_seconds * 1000;
    run_log(run, "order: %s", orders[order].word);
    if (trainer_process_send(run->setup->process, &message, &err) < 0)
        run_lost(run, &err);
}

/* Has a cancel been asked for since the last look? When that cannot be read now,
 * it is looked at again soon. */
static int run_cancel_requested(struct run *run)
{
    struct job *job;
    struct err err;
    eventfd_t woken;
    if (eventfd_read(run->setup->wake_fd, &woken) == 0)
        run->look = 1;
    if (!run->look || job_get(run->setup->reader, run->job->id, &job, &err) < 0)
        return 0;
    int requested = job->cancel_requested;
    job_free(job);
    run->look = 0;
    return requested;
}

/* What the clock and the others ask for. A stop that comes after a cancel
 * changes nothing: the trainer is ending already. */
static void run_look(struct run *run)
{
    int64_t now = now_ms();
    int cancel = run_cancel_requested(run);
    if (run->order != ORDER_NONE) {
        struct err err;
        err_set(&err, ERR_TIMEOUT, "it did not obey within %lld seconds",
                (long long)run->setup->settings->cancel_seconds);
        if (now >= run->order_deadline)
            run_lost(run, &err);
    } else if (cancel) {
        run_order(run, ORDER_CANCEL);
    } else if (atomic_load(run->setup->stopping)) {
        run_order(run, ORDER_STOP);
    } else if (run->limit && now >= run->limit) {
        run_order(run, ORDER_TIMEOUT);
    }
}

static int64_t run_silence_ends(const struct run *run)
{
    return run->heard_at + run->setup->settings->heartbeat_seconds * 1000;
}

static int run_timeout(const struct run *run)
{
    int64_t until = run_silence_ends(run), now = now_ms();
    if (run->order != ORDER_NONE && run->order_deadline < until)
        until = run->order_deadline;
    if (run->order == ORDER_NONE && run->limit && run->limit < until)
        until = run->limit;
    if (run->look && now + RUN_TRY_AGAIN_MS < until)
        until = now + RUN_TRY_AGAIN_MS;
    return until > now ? (int)(until - now) : 0;
}

static void run_loop(struct run *run)
{
    struct message message = {0};
    while (!run->ended) {
        struct err err;
        run_look(run);
        if (run->ended)
            break;
        int got = trainer_process_receive(run->setup->process, run_timeout(run),
                                          run->setup->wake_fd, &message, &err);
        if (got > 0) {
            run_take(run, &message);
            run->heard_at = now_ms();
        } else if (got < 0) {
            run_lost(run, &err);
        } else if (now_ms() >= run_silence_ends(run)) {
            err_set(&err, ERR_TIMEOUT, "it said nothing for %lld seconds",
                    (long long)run->setup->settings->heartbeat_seconds);
            run_lost(run, &err);
        }
    }
    message_clear(&message);
}

/* ---- from claim to end ---- */

static int run_begin(struct run *run, struct err *err)
{
    struct spec *spec = NULL;
    if (run_prepare(run, err) < 0 ||
        spec_parse(run->job->spec, strlen(run->job->spec), &spec, err) < 0)
        return -1;
    run->max_seconds = spec->resources.max_seconds;
    const int lost_model = spec->init_from[0] && run_find_model(run, spec->init_from, err);
    spec_free(spec);
    if (lost_model)
        return -1;
    run_log(run, "attempt %d on %s, trainer %d", run->job->attempt, run->setup->device,
            trainer_process_pid(run->setup->process));
    struct message message = {.type = MESSAGE_RUN,
                              .spec = run->job->spec,
                              .corpus = run->corpus,
                              .model = run->model,
                              .dir = run->folder,
                              .resume = run->stored + 1,
                              .checkpoint_seconds = run->setup->settings->checkpoint_seconds};
    memcpy(message.job, run->job->id, sizeof message.job);
    run->heard_at = now_ms();
    run->limit = run->max_seconds ? run->heard_at + run->max_seconds * 1000 : 0;
    struct err lost;
    if (trainer_process_send(run->setup->process, &message, &lost) < 0)
        run_lost(run, &lost);
    return 0;
}

/* {"code", "message", "epoch"} of what ended the job, or NULL. */
static char *run_error(const struct run *run)
{
    char message[ERR_MESSAGE_MAX];
    if (run->end != JOB_END_FAILED && run->end != JOB_END_FAULT)
        return NULL;
    memcpy(message, run->why.message, sizeof message);
    json_t *text = json_string(message);
    /* A sentence cut in the middle of a letter is no JSON text. */
    for (char *byte = message; !text && *byte; byte++)
        if (*byte & 0x80)
            *byte = '?';
    json_t *root =
        json_pack("{s:s, s:o, s:I}", "code", err_name(run->why.code), "message",
                  text ? text : json_string(message), "epoch", (json_int_t)run->why_epoch);
    char *error = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return error;
}

static void run_finish(struct run *run)
{
    struct err err;
    char *error = run_error(run);
    const char *why = error ? run->why.message : run->waits;
    struct run_write write = {.run = run, .text = error};
    if (run_store(run, write_end, &write, &err) < 0) {
        log_line(LOG_ERROR, "job %s: its end could not be stored: %s", run->job->id, err.message);
    } else {
        run_log(run, "%s at epoch %lld%s%s", job_state_name(write.state), (long long)run->stored,
                why[0] ? ": " : "", why);
        log_line(LOG_INFO, "job %s %s at epoch %lld%s%s", run->job->id, job_state_name(write.state),
                 (long long)run->stored, why[0] ? ": " : "", why);
    }
    free(error);
}

/* The job as it is now that nobody else can change it (a retry may have come just
 * before the claim), and the order to the trainer. */
static void run_start(struct run *run)
{
    struct job *claimed = NULL;
    struct err err;
    if (job_get(run->setup->reader, run->job->id, &claimed, &err) < 0) {
        run_put_off(run, err.message);
        return;
    }
    job_free(run->job);
    run->job = claimed;
    run->stored = claimed->epoch;
    if (run_begin(run, &err) == 0)
        return;
    if (run_is_passing(err.code))
        run_put_off(run, err.message);
    else
        run_fail(run, JOB_END_FAILED, err.code, run->stored, "%s", err.message);
}

int job_run(struct job_run *setup, const char *job, struct err *err)
{
    struct run run = {.setup = setup};
    struct run_write claim = {.run = &run, .text = job};
    err_clear(&run.why);
    if (job_get(setup->reader, job, &run.job, err) < 0)
        return -1;
    if (db_call(setup->db, write_claim, &claim, err) < 0) {
        job_free(run.job);
        return -1;
    }
    run_start(&run);
    run_loop(&run);
    run_finish(&run);
    if (run.log)
        fclose(run.log);
    free(run.values);
    free(run.tokens);
    job_free(run.job);
    return 0;
}
