/* run: see run.h. One thread waits for the trainer and for signals (a signalfd) at the same
 * time, so no signal handler is needed. The first Ctrl-C orders the trainer to cancel; the
 * second one, or no end within cancel_seconds, kills it. The trainer is in a process group of
 * its own (trainer_process.h), so the terminal's Ctrl-C does not reach it.
 *
 * Checkpoints and model go to a temporary folder that is removed at the end, unless --out
 * names one. */
#include "server/cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/emit.h"
#include "config/file.h"
#include "config/record.h"
#include "config/record_grid.h"
#include "config/spec.h"
#include "db/proofs.h"
#include "lab/bpe.h"
#include "lab/dataset.h"
#include "lab/sampler.h"
#include "lab/text.h"
#include "server/cli/progress.h"
#include "server/cli/run_table.h"
#include "server/data.h"
#include "server/queue/conversation.h"
#include "server/queue/trainer_process.h"

enum {
    RUN_OK = 0,
    RUN_FAILED = 1,
    RUN_USAGE = 2,
    RUN_GRACE_MS = 2000,          /* for a trainer to exit by itself */
    RUN_CHECKPOINT_SECONDS = 3600 /* in a temporary folder, from which nothing resumes */
};

#define RUN_JOB "local"

struct run {
    struct settings settings;
    const char *spec_path, *out;
    int is_json;
    struct spec *spec;
    struct bpe *bpe;
    struct dataset *dataset;
    const char *names[SPEC_GROUPS_MAX];
    char corpus[SETTINGS_TEXT_MAX], dir[SETTINGS_TEXT_MAX];
    int is_temporary; /* dir is removed at the end */
    int signals;      /* signalfd of SIGINT and SIGTERM */
    int n_signals;    /* signals received */
    struct trainer_process *trainer;
    struct conversation conversation;
    double *first, *last; /* records of epoch 0 and of the newest epoch */
    struct findings_run *findings;
    int64_t epoch; /* of last, -1 before the first */
    struct progress progress;
    int64_t started_ms;
};

/* --- arguments ------------------------------------------------------------------ */

static int run_usage(const char *format, const char *argument)
{
    fprintf(stderr, "tokenfate run: ");
    fprintf(stderr, format, argument);
    fprintf(stderr, "\nusage: tokenfate run SPEC.json [--json] [--out DIR] [option...]\n"
                    "SPEC.json may be - for standard input; options: tokenfate help\n");
    return RUN_USAGE;
}

static int run_arguments(struct run *run, int argc, char **argv)
{
    static const struct options_row rows[] = {
        {"json", OPTIONS_FLAG, offsetof(struct run, is_json), 0, 0, 0, NULL, NULL,
         "one JSON record per line on standard output"},
        {"out", OPTIONS_POINTER, offsetof(struct run, out), 0, 0, 0, NULL, NULL,
         "folder that keeps checkpoints and model"},
    };
    const struct options tables[] = {settings_options(&run->settings),
                                     {rows, sizeof rows / sizeof *rows, run}};
    struct err err = ERR_INIT;
    int n = 0;
    if (options_parse(tables, 2, argc, argv, &n, &err))
        return run_usage("%s", err.message);
    if (n == 0)
        return run_usage("%s", "no SPEC.json is named");
    if (n > 1)
        return run_usage("one spec at a time, not also %s", argv[1]);
    run->spec_path = argv[0];
    return 0;
}

/* --- preparing ------------------------------------------------------------------ */

static int run_read_spec(struct run *run, struct err *err)
{
    int is_stdin = strcmp(run->spec_path, "-") == 0, result = -1;
    FILE *in = is_stdin ? stdin : fopen(run->spec_path, "re");
    char *json = malloc(SPEC_BYTES_MAX + 1);
    if (!in) {
        err_set_errno(err, ERR_NOT_FOUND, "cannot open the spec");
    } else if (!json) {
        err_set(err, ERR_NO_MEMORY, "no memory for the spec");
    } else {
        size_t n = fread(json, 1, SPEC_BYTES_MAX + 1, in);
        result = ferror(in) ? err_set_errno(err, ERR_IO, "cannot read the spec")
                            : spec_parse(json, n, &run->spec, err);
    }
    if (in && !is_stdin)
        fclose(in);
    free(json);
    return result ? err_prefix(err, "%s", is_stdin ? "standard input" : run->spec_path) : 0;
}

/* Open the findings; the sampler is needed only for the number of steps per epoch. */
static int run_open_findings(struct run *run, struct err *err)
{
    struct sampler *sampler = NULL;
    const struct dataset *data = run->dataset;
    const struct sampler_text text = dataset_text(data, NULL);
    if (sampler_open(run->spec, &text, &sampler, err))
        return -1;
    findings_open(run->findings, run->spec, &data->frequency, &data->groups,
                  run->spec->train.epochs, sampler_steps_per_epoch(sampler));
    sampler_close(sampler);
    return 0;
}

static int run_prepare_text(struct run *run, struct err *err)
{
    const char *id = run->spec->corpus.id;
    if (strcmp(id, TEXT_SYNTHETIC) != 0 &&
        text_find(run->settings.corpus_path, id, run->corpus, sizeof run->corpus, err))
        return -1;
    if (bpe_open(run->settings.share, run->spec->corpus.tokenizer, &run->bpe, err) ||
        dataset_open(run->spec, run->corpus, run->bpe, &run->dataset, err))
        return -1;
    const struct groups *groups = &run->dataset->groups;
    for (int group = 0; group < groups->n; group++)
        run->names[group] = groups->group[group].name;
    run->first = calloc((size_t)record_size(groups->n), sizeof *run->first);
    run->last = calloc((size_t)record_size(groups->n), sizeof *run->last);
    run->findings = calloc(1, sizeof *run->findings);
    if (!run->first || !run->last || !run->findings)
        return err_set(err, ERR_NO_MEMORY, "no memory for the records of a run");
    return run_open_findings(run, err);
}

/* Folder for checkpoints and model: --out, or a new one below TMPDIR. */
static int run_make_folder(struct run *run, struct err *err)
{
    const char *base = getenv("TMPDIR");
    const char *path = run->out;
    if (path) {
        if (file_make_folder(path, err))
            return -1;
        if (strlen(path) >= sizeof run->dir)
            return err_set(err, ERR_TOO_LARGE, "the folder's path is too long");
        strcpy(run->dir, path);
        return 0;
    }
    if ((size_t)snprintf(run->dir, sizeof run->dir, "%s/tokenfate-run-XXXXXX",
                         base && base[0] ? base : "/tmp") >= sizeof run->dir)
        return err_set(err, ERR_TOO_LARGE, "the path in TMPDIR is too long");
    if (!mkdtemp(run->dir))
        return err_set_errno(err, ERR_IO, "cannot make a temporary folder %s", run->dir);
    run->is_temporary = 1;
    return 0;
}

/* Block SIGINT and SIGTERM and receive them through a signalfd. The trainer starts with an
 * empty signal mask all the same (trainer_process.c). */
static int run_catch_signals(struct run *run, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals < 0 ? err_set_errno(err, ERR_IO, "cannot wait for signals") : 0;
}

/* Has the service that works in this data folder proved this GPU? ERR_UNAVAILABLE. */
static int run_is_proved(const struct run *run, const struct trainer_device *gpu, struct err *err)
{
    struct proof proofs[PROOF_PRECISIONS];
    struct db_reader *reader = NULL;
    char path[DATA_PATH_MAX];
    struct err why = ERR_INIT;
    const int is_known = data_path(&run->settings, path, sizeof path, &why, "tokenfate.db") == 0 &&
                         db_reader_open_path(path, &reader, &why) == 0 &&
                         proofs_load(reader, gpu->identity, proofs, &why) == 0;
    int passed = is_known;
    for (int i = 0; is_known && i < PROOF_PRECISIONS; i++)
        passed = passed && proofs[i].state == PROOF_PASSED;
    db_reader_close(reader);
    return passed ? 0
                  : err_set(err, ERR_UNAVAILABLE,
                            "%s has not proved itself to the service of %.200s; start that, or "
                            "give --cuda force",
                            gpu->id, run->settings.data);
}

/* ERR_UNAVAILABLE with the reason. */
static int run_may_use(const struct run *run, const struct trainer_device *gpu, struct err *err)
{
    if (strcmp(run->settings.cuda, "off") == 0)
        return err_set(err, ERR_UNAVAILABLE, "the setting cuda is off");
    if (!gpu->available)
        return err_set(err, ERR_UNAVAILABLE, "%s: %s", gpu->id, gpu->reason);
    return strcmp(run->settings.cuda, "force") == 0 ? 0 : run_is_proved(run, gpu, err);
}

/* Copy the id of the first GPU that the trainer reports, is `wanted` and may be used.
 * ERR_UNAVAILABLE, with the reason of the first one that may not. */
static int run_find_gpu(const struct run *run, const char *wanted,
                        char id[sizeof((struct trainer_device *)0)->id], struct err *err)
{
    int n;
    const struct trainer_device *devices = trainer_process_devices(run->trainer, &n);
    struct err unfit = ERR_INIT;
    for (int i = 0; i < n; i++) {
        struct err why = ERR_INIT;
        if (strcmp(devices[i].kind, "cuda") != 0 ||
            (strncmp(wanted, "cuda:", 5) == 0 && strcmp(devices[i].id, wanted) != 0))
            continue;
        if (run_may_use(run, &devices[i], &why) == 0) {
            strcpy(id, devices[i].id);
            return 0;
        }
        unfit = unfit.code ? unfit : why;
    }
    return err_set(err, ERR_UNAVAILABLE, "there is no GPU that can be used%s%s",
                   unfit.code ? ": " : "", unfit.message);
}

/* Start the trainer for the spec's device. For a GPU a trainer for the CPU starts first and reports
 * the GPUs; without one that may be used, "auto" keeps that trainer. */
static int run_start_trainer(struct run *run, struct err *err)
{
    const char *wanted = run->spec->resources.device;
    char id[sizeof((struct trainer_device *)0)->id], how[96];
    struct err why = ERR_INIT;
    const int asked = run->spec->resources.threads;
    const struct trainer_team team = {.threads = asked ? asked : (int)run->settings.job_threads};
    if (trainer_process_start_team(&run->settings, "cpu", &team, &run->trainer, err))
        return -1;
    if (strcmp(wanted, "cpu") == 0)
        return 0;
    if (run_find_gpu(run, wanted, id, &why) != 0)
        return strcmp(wanted, "auto") == 0 ? 0 : err_set(err, why.code, "%s", why.message);
    trainer_process_end(run->trainer, RUN_GRACE_MS, how, sizeof how);
    run->trainer = NULL;
    return trainer_process_start(&run->settings, id, &run->trainer, err);
}

/* Send `run`. resume stays 0, so the job starts anew even if --out names a folder with
 * checkpoints. */
static int run_start_job(struct run *run, struct err *err)
{
    char *json = spec_print(run->spec);
    if (!json)
        return err_set(err, ERR_NO_MEMORY, "no memory to print the spec");
    struct message message = {.type = MESSAGE_RUN,
                              .job = RUN_JOB,
                              .spec = json,
                              .corpus = run->corpus,
                              .model = "",
                              .dir = run->dir,
                              .checkpoint_seconds = run->is_temporary
                                                        ? RUN_CHECKPOINT_SECONDS
                                                        : run->settings.checkpoint_seconds};
    int result =
        conversation_start(&run->conversation, &run->settings, run->trainer, &message, err);
    free(json);
    return result;
}

/* --- progress ------------------------------------------------------------------- */

static void run_show_progress(struct run *run)
{
    const double *last = run->last;
    const int64_t epochs = run->spec->train.epochs;
    const double passed = (double)(clock_monotonic_ms() - run->started_ms) / 1000;
    const int field = RECORD_MEAN_LOGP_NONE + (int)run->spec->groups.mask;
    struct progress_news news = {.epoch = run->epoch,
                                 .epochs = epochs,
                                 .loss = last[RECORD_LOSS],
                                 .seconds_left = run->epoch > 0 ? passed / (double)run->epoch *
                                                                      (double)(epochs - run->epoch)
                                                                : NAN,
                                 .tokens_per_second = last[RECORD_TOKENS_PER_SECOND],
                                 .n_groups = PROGRESS_GROUPS};
    for (int group = 0; group < PROGRESS_GROUPS; group++) {
        news.name[group] = run->names[group];
        news.logp[group] = last[record_at(group, (enum record_field)field)];
    }
    progress_show(&run->progress, &news);
}

/* --- the conversation ----------------------------------------------------------- */

static void run_print_record(const struct run *run)
{
    struct emit json;
    emit_open(&json, stdout, EMIT_COMPACT);
    record_emit(&json, NULL, run->epoch, run->last, run->dataset->groups.n, run->names);
    putchar('\n');
}

/* `epochs`: keep the first and the last record, feed the findings, print with --json. Sizes and
 * order are checked, because the buffers hold one record and no epoch may be missing. */
static int run_take_epochs(struct run *run, const struct message *message, struct err *err)
{
    const struct groups *groups = &run->dataset->groups;
    const struct record_grid grid = {run->spec->train.record_every, run->spec->train.epochs};
    const int64_t wanted = record_grid_from(grid, run->epoch + 1);
    int n = record_size(groups->n);
    if (message->n_values != n || message->n_tokens != groups->n_tokens || message->from != wanted)
        return err_set(err, ERR_PROTOCOL,
                       "the trainer sent epoch %lld with %lld values and %lld tokens, not %lld "
                       "with %d and %d",
                       (long long)message->from, (long long)message->n_values,
                       (long long)message->n_tokens, (long long)wanted, n, groups->n_tokens);
    int64_t epoch = message->from;
    for (int64_t i = 0; i < message->n; i++, epoch = record_grid_from(grid, epoch + 1)) {
        message_record(message, i, run->last, NULL);
        if (epoch == 0)
            memcpy(run->first, run->last, (size_t)n * sizeof *run->first);
        run->epoch = epoch;
        findings_take(run->findings, epoch, run->last);
        if (run->is_json)
            run_print_record(run);
    }
    if (run->is_json)
        fflush(stdout);
    run_show_progress(run);
    return 0;
}

static void run_take_start(struct run *run, const struct message *message)
{
    run->started_ms = clock_monotonic_ms();
    fprintf(stderr, "%s: %s, %s, %s, %lld threads, %.1f MiB\n", run->spec->name, message->name,
            message->isa, message->precision, (long long)message->threads,
            (double)message->bytes / (1 << 20));
}

/* Handle a message. 1: the job has succeeded, 0: it goes on, -1: it has ended or the trainer
 * violates the protocol. */
static int run_take(struct run *run, const struct message *message, struct err *err)
{
    switch (message->type) {
    case MESSAGE_STARTED:
        run_take_start(run, message);
        return 0;
    case MESSAGE_EPOCHS:
        return run_take_epochs(run, message, err);
    case MESSAGE_LOG:
        progress_clear(&run->progress);
        fprintf(stderr, "%s\n", message->text);
        return 0;
    case MESSAGE_NOTICE: /* its text came as a line of the log, too */
        return 0;
    case MESSAGE_DONE:
        if (run->epoch != run->spec->train.epochs)
            return err_set(err, ERR_PROTOCOL, "the trainer ended at epoch %lld of %lld",
                           (long long)run->epoch, (long long)run->spec->train.epochs);
        return 1;
    case MESSAGE_CANCELLED:
    case MESSAGE_STOPPED:
        return err_set(err, ERR_CANCELLED, "cancelled at epoch %lld", (long long)message->epoch);
    case MESSAGE_FAILED:
        return err_set(err, err_from_name(message->code), "%s", message->text);
    default:
        return 0;
    }
}

/* Handle signals: the first one orders the trainer to cancel, the second one is an error, after
 * which run_end_trainer kills it. */
static int run_take_signals(struct run *run, struct err *err)
{
    struct signalfd_siginfo info;
    while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (++run->n_signals > 1)
            return err_set(err, ERR_CANCELLED, "cancelled");
        progress_clear(&run->progress);
        fprintf(stderr, "cancelling; once more to end at once\n");
        if (conversation_order(&run->conversation, MESSAGE_CANCEL, err))
            return -1;
    }
    return 0;
}

static int run_converse(struct run *run, struct err *err)
{
    struct message message = {0};
    int result = 0;
    while (result == 0) {
        int got = conversation_receive(&run->conversation, 0, run->signals, &message, err);
        if (got > 0)
            result = run_take(run, &message, err);
        else if (got < 0)
            result = err->code == ERR_TIMEOUT ? err_prefix(err, "the trainer was given up") : -1;
        if (result == 0)
            result = run_take_signals(run, err);
    }
    message_clear(&message);
    return result < 0 ? -1 : 0;
}

/* --- the command ---------------------------------------------------------------- */

static void run_report(const struct err *err)
{
    if (err->n_fields == 0)
        fprintf(stderr, "tokenfate run: %s\n", err->message);
    for (int i = 0; i < err->n_fields; i++)
        fprintf(stderr, "tokenfate run: %s: %s\n", err->fields[i].pointer, err->fields[i].detail);
    if (err->n_more)
        fprintf(stderr, "tokenfate run: and %d more\n", err->n_more);
}

/* End the trainer. If it has ended by itself (the socket is closed), the error tells how. */
static void run_end_trainer(struct run *run, int result, struct err *err)
{
    char how[96];
    int is_gone = result && err->code == ERR_IO;
    trainer_process_end(run->trainer, result && !is_gone ? 0 : RUN_GRACE_MS, how, sizeof how);
    run->trainer = NULL;
    if (is_gone)
        err_set(err, ERR_DEVICE, "the trainer was lost at epoch %lld: %s", (long long)run->epoch,
                how);
}

static int run_train(struct run *run, struct err *err)
{
    if (run_read_spec(run, err) || run_prepare_text(run, err) || run_make_folder(run, err) ||
        run_catch_signals(run, err) || run_start_trainer(run, err))
        return -1;
    int result = run_start_job(run, err);
    if (result == 0)
        result = run_converse(run, err);
    progress_clear(&run->progress);
    run_end_trainer(run, result, err);
    return result;
}

static void run_close(struct run *run)
{
    char how[96];
    trainer_process_end(run->trainer, 0, how, sizeof how);
    if (run->is_temporary)
        file_remove_folder(run->dir, NULL);
    if (run->signals >= 0)
        close(run->signals);
    dataset_close(run->dataset);
    bpe_close(run->bpe);
    spec_free(run->spec);
    free(run->first);
    free(run->last);
    free(run->findings);
}

static void run_print_results(const struct run *run)
{
    run_print_table(stdout, &(struct run_table){.spec = run->spec,
                                                .dataset = run->dataset,
                                                .epoch = run->epoch,
                                                .first = run->first,
                                                .last = run->last});
    run_print_findings(stdout, run->findings, NULL); /* one that diverged ends without results */
}

int run_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct run run = {
        .settings = *settings, .signals = -1, .epoch = -1, .progress = progress_begin()};
    if (run_arguments(&run, argc, argv))
        return RUN_USAGE;
    int result = run_train(&run, &err);
    if (result)
        run_report(&err);
    else if (!run.is_json)
        run_print_results(&run);
    if (!result && fflush(stdout) != 0) {
        fprintf(stderr, "tokenfate run: cannot write the results: %s\n", strerror(errno));
        result = -1;
    }
    run_close(&run);
    return result ? RUN_FAILED : RUN_OK;
}
