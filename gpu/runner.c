/* runner: see runner.h. Epoch records are packed and leave as one `epochs` message at most ten
 * times a second; sooner when the pack is full, a checkpoint is about to be written or the job
 * ends. Invariant: every record before a checkpoint is sent before it. A sink that has failed once
 * is never used again; the job then ends at its next step. */
#include "gpu/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/log.h"
#include "config/record.h"
#include "gpu/device.h"
#include "gpu/identity.h"
#include "gpu/nvml.h"
#include "gpu/inference.h"
#include "gpu/qualify_checks.h"
#include "lab/bpe.h"
#include "lab/dataset.h"
#include "lab/token_stream.h"

enum {
    PACK_BYTES = 1 << 20, /* largest size of a pack of records */
    SEND_MS = 100,        /* shortest time between two `epochs` messages */
    ALIVE_MS = 1000,      /* shortest time between two `alive` messages */
    NAME_MAX_BYTES = 192,
    ID_MAX_BYTES = 16,
    LOWEST_PRIORITY = 19 /* setpriority(2) */
};

/* Consecutive records to be sent: n of them, of the epochs from .. to. */
struct pack {
    char *bytes;
    size_t size, capacity;
    int64_t from, to, n;
    int n_values, n_tokens;
};

struct runner {
    const struct runner_setup *setup;
    const struct runner_sink *sink;
    struct backend *backend; /* NULL: the device cannot be opened; device_err has the reason */
    struct err device_err;
    int is_noticed; /* the backend's notice was told */
    struct bpe *bpe;
    char tokenizer[16];
    struct dataset *dataset;
    struct spec *dataset_spec; /* spec that the dataset was made for */
    char *dataset_path;

    char job[MESSAGE_ID_MAX]; /* the current job */
    struct pack pack;
    int64_t sent_ms, alive_ms; /* times of the last `epochs` and `alive` */
    enum train_order order;    /* last one that was not TRAIN_GO */
    struct err sink_err;       /* first error of send */
};

/* Every message names the current job. Errors of the sink are kept; runner_run returns them. */
static int send_message(struct runner *runner, struct message *message)
{
    if (runner->sink_err.code != ERR_NONE)
        return -1;
    memcpy(message->job, runner->job, sizeof message->job);
    return runner->sink->send(runner->sink->self, message, &runner->sink_err);
}

/* ---- device ---- */

/* A backend keeps a fault that is a bug of ours: the next job opens a new one. */
static void close_backend(struct runner *runner)
{
    if (runner->backend)
        runner->backend->close(runner->backend);
    runner->backend = NULL;
    runner->is_noticed = 0;
}

/* Close first: the old backend's memory must be free before the new one allocates. A failure is
 * kept in device_err. */
static void open_backend(struct runner *runner, enum spec_precision precision)
{
    const struct runner_setup *setup = runner->setup;
    close_backend(runner);
    err_clear(&runner->device_err);
    device_open(setup->device, setup->threads, precision, setup->build, &runner->backend,
                &runner->device_err);
}

int runner_open(const struct runner_setup *setup, const struct runner_sink *sink,
                struct runner **out, struct err *err)
{
    struct runner *runner = calloc(1, sizeof *runner);
    if (!runner)
        return err_set(err, ERR_NO_MEMORY, "no memory for a runner");
    runner->setup = setup;
    runner->sink = sink;
    open_backend(runner, PRECISION_AUTO);
    *out = runner;
    return 0;
}

void runner_close(struct runner *runner)
{
    if (!runner)
        return;
    dataset_close(runner->dataset);
    spec_free(runner->dataset_spec);
    free(runner->dataset_path);
    bpe_close(runner->bpe);
    close_backend(runner);
    free(runner->pack.bytes);
    free(runner);
}

static int send_cpu(struct runner *runner)
{
    char name[NAME_MAX_BYTES];
    const int is_ours = strcmp(runner->setup->device, "cpu") == 0;
    struct backend *backend = is_ours ? runner->backend : NULL;
    if (backend)
        snprintf(name, sizeof name, "%s, %s", backend->device, backend->isa);
    else
        snprintf(name, sizeof name, "processor");
    const int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    const int64_t there = backend ? backend->available(backend) : 0;
    const enum err_code code = is_ours ? runner->device_err.code : ERR_UNAVAILABLE;
    struct message message = {.type = MESSAGE_DEVICE,
                              .name = name,
                              .kind = "cpu",
                              .id = "cpu",
                              .bytes = bytes,
                              .free_bytes = there < bytes ? there : bytes,
                              .utilisation = NVML_UNKNOWN,
                              .temperature = NVML_UNKNOWN,
                              .driver = "",
                              .identity = "",
                              .code = backend ? "" : (char *)err_name(code),
                              .text = is_ours ? runner->device_err.message
                                              : "this trainer computes on another device"};
    return send_message(runner, &message);
}

/* Fill in the driver, and the readings of a card that is there. Free memory is what other programs
 * leave or, if unknown, all of it. */
static void ask_card(struct nvml *nvml, int number, struct message *message)
{
    struct nvml_reading reading;
    struct err why = ERR_INIT;
    message->free_bytes = message->bytes;
    message->utilisation = message->temperature = NVML_UNKNOWN;
    message->driver = "";
    if (!nvml)
        return;
    message->driver = (char *)nvml_driver(nvml);
    if (message->bytes == 0)
        return;
    if (nvml_read(nvml, number, &reading, &why) != 0) {
        log_line(LOG_WARNING, "cuda:%d: %s", number, why.message);
        return;
    }
    const int64_t left = reading.total_bytes - reading.used_bytes;
    message->free_bytes = left < message->bytes ? left : message->bytes;
    message->utilisation = reading.utilisation;
    message->temperature = reading.temperature;
}

/* 1: sent, there may be more devices; 0: no such device; -1: sending failed. Number 0 is sent in
 * any case, with the reason if it is unavailable. */
static int send_cuda(struct runner *runner, struct nvml *nvml, int number)
{
    char name[BACKEND_DEVICE_MAX] = "CUDA device", id[ID_MAX_BYTES], card[IDENTITY_MAX] = "";
    int64_t bytes = 0;
    struct err why = ERR_INIT;
    const int there = device_cuda_query(number, runner->setup->build, name, &bytes, &why) == 0;
    const int is_ours = device_cuda_number(runner->setup->device) == number;
    struct backend *backend = is_ours ? runner->backend : NULL;
    if (!there && number > 0)
        return 0;
    if (there && is_ours && !backend)
        why = runner->device_err;
    snprintf(id, sizeof id, "cuda:%d", number);
    if (there)
        identity(number, runner->setup->build, name, bytes, nvml, card);
    struct message message = {.type = MESSAGE_DEVICE,
                              .name = name,
                              .kind = "cuda",
                              .id = id,
                              .bytes = bytes,
                              .code = why.code == ERR_NONE ? "" : (char *)err_name(why.code),
                              .text = why.message,
                              .identity = card};
    ask_card(nvml, number, &message);
    if (backend)
        message.free_bytes = backend->available(backend);
    return send_message(runner, &message) == 0 ? there : -1;
}

/* Where CUDA finds no card, NVML may still know which driver is too old for it. */
static struct nvml *open_nvml(const struct runner *runner)
{
    char name[BACKEND_DEVICE_MAX];
    int64_t bytes;
    struct nvml *nvml = NULL;
    struct err why = ERR_INIT;
    const int there = device_cuda_query(0, runner->setup->build, name, &bytes, &why) == 0;
    if (nvml_open(&nvml, &why) != 0 && there)
        log_line(LOG_WARNING, "memory in use, temperature and utilisation are not known: %s",
                 why.message);
    return nvml;
}

int runner_hello(struct runner *runner, struct err *err)
{
    struct nvml *nvml = open_nvml(runner);
    struct message hello = {
        .type = MESSAGE_HELLO, .version = MESSAGE_VERSION, .text = (char *)runner->setup->build};
    struct message ready = {.type = MESSAGE_READY};
    int more = 1;
    if (send_message(runner, &hello) != 0 || send_cpu(runner) != 0)
        more = -1;
    for (int number = 0; more > 0 && number < DEVICE_CUDA_MAX; number++)
        more = send_cuda(runner, nvml, number);
    nvml_close(nvml);
    if (more < 0 || send_message(runner, &ready) != 0)
        return err_set(err, runner->sink_err.code, "%s", runner->sink_err.message);
    return 0;
}

/* ---- dataset ---- */

static int open_bpe(struct runner *runner, const char *tokenizer, struct err *err)
{
    if (runner->bpe && strcmp(runner->tokenizer, tokenizer) == 0)
        return 0;
    struct bpe *bpe = NULL;
    if (bpe_open(runner->setup->share, tokenizer, &bpe, err) != 0)
        return -1;
    bpe_close(runner->bpe);
    runner->bpe = bpe;
    snprintf(runner->tokenizer, sizeof runner->tokenizer, "%s", tokenizer);
    return 0;
}

/* A dataset is determined by text, groups and their seeds. */
static int same_dataset(const struct runner *runner, const struct spec *spec, const char *path)
{
    static const char *const deciding[] = {"\"/corpus", "\"/groups", "\"/data", "\"/train/seed"};
    if (!runner->dataset || strcmp(runner->dataset_path, path) != 0)
        return 0;
    char *differences = spec_diff(runner->dataset_spec, spec);
    int same = differences != NULL;
    for (size_t i = 0; same && i < sizeof deciding / sizeof *deciding; i++)
        same = strstr(differences, deciding[i]) == NULL;
    free(differences);
    return same;
}

/* Takes ownership of the spec, which must live as long as its dataset. */
static int open_dataset(struct runner *runner, struct spec *spec, const char *path, struct err *err)
{
    int same = same_dataset(runner, spec, path);
    struct dataset *dataset = NULL;
    char *copy = same ? NULL : strdup(path);
    if (!same && (!copy ? err_set(err, ERR_NO_MEMORY, "no memory for a path")
                        : open_bpe(runner, spec->corpus.tokenizer, err) != 0 ||
                              dataset_open(spec, path, runner->bpe, &dataset, err) != 0)) {
        free(copy);
        spec_free(spec);
        return -1;
    }
    if (!same) {
        dataset_close(runner->dataset);
        runner->dataset = dataset;
        free(runner->dataset_path);
        runner->dataset_path = copy;
    }
    spec_free(runner->dataset_spec);
    runner->dataset_spec = spec;
    return 0;
}

struct record_grid runner_grid(const struct runner *runner)
{
    const struct spec *spec = runner->dataset_spec;
    return (struct record_grid){spec->train.record_every, spec->train.epochs};
}

const struct groups *runner_groups(const struct runner *runner)
{
    return &runner->dataset->groups;
}

/* ---- callbacks of train ---- */

static void on_flush(void *self)
{
    struct runner *runner = self;
    struct pack *pack = &runner->pack;
    if (pack->n == 0)
        return;
    struct message message = {.type = MESSAGE_EPOCHS,
                              .from = pack->from,
                              .to = pack->to,
                              .n = pack->n,
                              .n_values = pack->n_values,
                              .n_tokens = pack->n_tokens,
                              .payload = pack->bytes,
                              .payload_bytes = pack->size};
    send_message(runner, &message);
    pack->n = 0;
    pack->size = 0;
    runner->sent_ms = clock_monotonic_ms();
}

static void flush_if_due(struct runner *runner)
{
    if (runner->pack.n > 0 && clock_monotonic_ms() - runner->sent_ms >= SEND_MS)
        on_flush(runner);
}

static void on_started(void *self, int64_t first_epoch, int64_t bytes)
{
    struct runner *runner = self;
    const struct backend *backend = runner->backend;
    struct message message = {.type = MESSAGE_STARTED,
                              .epoch = first_epoch,
                              .bytes = bytes,
                              .precision = (char *)spec_precision_name(backend->precision),
                              .isa = (char *)backend->isa,
                              .threads = backend->threads,
                              .name = (char *)backend->device,
                              .build = (char *)runner->setup->build};
    send_message(runner, &message);
}

static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct runner *runner = self;
    struct pack *pack = &runner->pack;
    size_t of_values = (size_t)n_values * sizeof *values;
    size_t of_tokens = (size_t)n_tokens * sizeof *tokens;
    if (pack->size + of_values + of_tokens > pack->capacity)
        on_flush(runner);
    if (pack->n == 0)
        pack->from = epoch;
    pack->to = epoch;
    pack->n_values = n_values;
    pack->n_tokens = n_tokens;
    memcpy(pack->bytes + pack->size, values, of_values);
    memcpy(pack->bytes + pack->size + of_values, tokens, of_tokens);
    pack->size += of_values + of_tokens;
    pack->n++;
    flush_if_due(runner);
}

static void on_busy(void *self, int64_t epoch)
{
    struct runner *runner = self;
    struct message message = {.type = MESSAGE_ALIVE, .epoch = epoch};
    if (clock_monotonic_ms() - runner->alive_ms < ALIVE_MS)
        return;
    send_message(runner, &message);
    runner->alive_ms = clock_monotonic_ms();
}

/* Steps that cannot be recorded are slower, which nobody would understand without a word. */
static void tell_notice(struct runner *runner)
{
    char line[BACKEND_NOTICE_MAX + 64];
    if (runner->is_noticed || !runner->backend->notice[0])
        return;
    runner->is_noticed = 1;
    snprintf(line, sizeof line, "without graphs: %s", runner->backend->notice);
    log_line(LOG_WARNING, "device %s: %s", runner->setup->device, line);
    struct message log = {.type = MESSAGE_LOG, .text = line};
    struct message notice = {.type = MESSAGE_NOTICE, .text = line};
    send_message(runner, &log);
    send_message(runner, &notice);
}

/* A broken sink cancels the job: nobody would get its records. */
static enum train_order on_alive(void *self, int64_t epoch)
{
    struct runner *runner = self;
    tell_notice(runner);
    flush_if_due(runner);
    on_busy(runner, epoch);
    enum train_order order = runner->sink->order(runner->sink->self, runner->job);
    if (runner->sink_err.code != ERR_NONE)
        order = TRAIN_CANCEL;
    if (order != TRAIN_GO)
        runner->order = order;
    return order;
}

static void on_checkpointed(void *self, int64_t epoch)
{
    struct message message = {.type = MESSAGE_CHECKPOINTED, .epoch = epoch};
    send_message(self, &message);
}

static void on_log(void *self, const char *line)
{
    struct message message = {.type = MESSAGE_LOG, .text = (char *)line};
    send_message(self, &message);
}

/* ---- one job ---- */

/* Make room for at least one record of the current dataset. */
static int prepare_pack(struct runner *runner, struct err *err)
{
    const struct groups *groups = &runner->dataset->groups;
    size_t record =
        (size_t)record_size(groups->n) * sizeof(double) + (size_t)groups->n_tokens * sizeof(float);
    size_t capacity = record > PACK_BYTES ? record : PACK_BYTES;
    char *bytes = realloc(runner->pack.bytes, capacity);
    if (!bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for records of %zu bytes", record);
    runner->pack = (struct pack){.bytes = bytes, .capacity = capacity};
    return 0;
}

/* A job never changes its device silently. "cuda" matches any CUDA device, "cuda:1" that one
 * only. */
static int check_device(const struct runner *runner, const struct spec *spec, struct err *err)
{
    const char *wanted = spec->resources.device, *here = runner->setup->device;
    if (strcmp(wanted, "auto") == 0 || strcmp(wanted, here) == 0 ||
        (strcmp(wanted, "cuda") == 0 && device_cuda_number(here) >= 0))
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "the job wants device %s, this trainer has %s", wanted,
                   here);
}

/* Reopen the backend if it computes in another precision. */
static int prepare_precision(struct runner *runner, enum spec_precision asked, struct err *err)
{
    const enum spec_precision wanted = device_precision(runner->setup->device, asked);
    if (!runner->backend || runner->backend->precision != wanted)
        open_backend(runner, wanted);
    if (!runner->backend)
        return err_set(err, runner->device_err.code, "%s", runner->device_err.message);
    return 0;
}

/* Only the server that has a job knows its model file. */
static int check_spec(const struct spec *spec, const struct train_options *options, struct err *err)
{
    if (spec->init_from[0] && !options->model)
        return err_field(err, "/init_from", "job %s is known to a server, not to a trainer alone",
                         spec->init_from);
    return 0;
}

static int train(struct runner *runner, const struct message *run, int64_t *epoch, struct err *err)
{
    const struct train_events events = {.self = runner,
                                        .started = on_started,
                                        .epoch = on_epoch,
                                        .alive = on_alive,
                                        .busy = on_busy,
                                        .flush = on_flush,
                                        .checkpointed = on_checkpointed,
                                        .log = on_log};
    const struct train_options options = {.dir = run->dir && run->dir[0] ? run->dir : NULL,
                                          .model = run->model && run->model[0] ? run->model : NULL,
                                          .build = runner->setup->build,
                                          .resume = run->resume,
                                          .checkpoint_seconds = run->checkpoint_seconds,
                                          .compares =
                                              device_cuda_number(runner->setup->device) >= 0,
                                          .threads = runner->setup->threads};
    struct spec *spec = NULL;
    if (spec_parse(run->spec, strlen(run->spec), &spec, err) != 0)
        return -1;
    if (check_spec(spec, &options, err) != 0 || check_device(runner, spec, err) != 0 ||
        prepare_precision(runner, spec->train.precision, err) != 0) {
        spec_free(spec);
        return -1;
    }
    if (open_dataset(runner, spec, run->corpus ? run->corpus : "", err) != 0 ||
        prepare_pack(runner, err) != 0)
        return -1;
    if ((options.compares && qualify_checks_look(runner->backend, err) != 0) ||
        train_run(runner->dataset_spec, runner->dataset, runner->backend, &options, &events, epoch,
                  err) != 0)
        return err->code == ERR_DEVICE_WRONG ? err_prefix(err, "%s", runner->setup->device) : -1;
    return 0;
}

static void send_end(struct runner *runner, int result, int64_t epoch, const struct err *why)
{
    struct message end = {.type = MESSAGE_DONE, .epoch = epoch};
    if (result != 0 && why->code == ERR_CANCELLED) {
        end.type = runner->order == TRAIN_STOP ? MESSAGE_STOPPED : MESSAGE_CANCELLED;
    } else if (result != 0) {
        end.type = MESSAGE_FAILED;
        end.code = (char *)err_name(why->code);
        end.text = (char *)why->message;
    }
    send_message(runner, &end);
}

int runner_run(struct runner *runner, const struct message *run, struct err *err)
{
    struct err why = ERR_INIT;
    int64_t epoch = 0;
    memcpy(runner->job, run->job, sizeof runner->job);
    runner->order = TRAIN_GO;
    runner->sent_ms = runner->alive_ms = 0;
    int result = train(runner, run, &epoch, &why);
    on_flush(runner);
    send_end(runner, result, epoch, &why);
    runner->job[0] = '\0';
    if (runner->sink_err.code != ERR_NONE)
        return err_set(err, runner->sink_err.code, "%s", runner->sink_err.message);
    if (result != 0 && (why.code == ERR_DEVICE || why.code == ERR_DEVICE_WRONG))
        return err_set(err, why.code, "%s", why.message);
    if (result != 0 && why.code == ERR_INTERNAL)
        close_backend(runner);
    return 0;
}

/* ---- a probe ---- */

static int infer(struct runner *runner, const struct message *message, float *logp, struct err *err)
{
    struct spec *spec = NULL;
    if (prepare_precision(runner, PRECISION_FP32, err) != 0 ||
        spec_parse(message->spec, strlen(message->spec), &spec, err) != 0)
        return -1;
    const int failed =
        inference_next_token(runner->backend, spec, (int)message->n_values, message->dir,
                             message->payload, (int)message->n_tokens, logp, err);
    spec_free(spec);
    return failed;
}

int runner_probe(struct runner *runner, const struct message *message, struct err *err)
{
    struct err why = ERR_INIT;
    struct message answer = {.type = MESSAGE_PROBED,
                             .n_values = message->n_values,
                             .payload_bytes = (size_t)message->n_values * sizeof(float)};
    memcpy(runner->job, message->job, sizeof runner->job);
    answer.payload = malloc(answer.payload_bytes + 1);
    if (!answer.payload)
        err_set(&why, ERR_NO_MEMORY, "no memory for %lld numbers", (long long)message->n_values);
    if (answer.payload && infer(runner, message, answer.payload, &why) == 0)
        send_message(runner, &answer);
    else
        send_end(runner, -1, 0, &why);
    free(answer.payload);
    runner->job[0] = '\0';
    if (runner->sink_err.code != ERR_NONE)
        return err_set(err, runner->sink_err.code, "%s", runner->sink_err.message);
    return why.code == ERR_DEVICE ? err_set(err, ERR_DEVICE, "%s", why.message) : 0;
}

/* ---- reading a text ---- */

static int read_text(struct runner *runner, const struct message *read, size_t *n, struct err *err)
{
    struct spec *spec = NULL;
    if (spec_parse(read->spec, strlen(read->spec), &spec, err) != 0)
        return -1;
    const int failed = open_bpe(runner, spec->corpus.tokenizer, err) != 0 ||
                       token_stream_make(spec, read->corpus, runner->bpe, read->dir, n, err) != 0;
    spec_free(spec);
    return failed ? -1 : 0;
}

int runner_read(struct runner *runner, const struct message *read, struct err *err)
{
    struct err why = ERR_INIT;
    size_t n = 0;
    /* Training comes first. A refusal changes only who waits for whom. */
    setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    const int failed = read_text(runner, read, &n, &why);
    const int is_field = why.n_fields > 0;
    struct message answer =
        failed ? (struct message){.type = MESSAGE_READ_FAILED,
                                  .code = (char *)err_name(why.code),
                                  .pointer = is_field ? why.fields[0].pointer : "",
                                  .text = is_field ? why.fields[0].detail : why.message}
               : (struct message){.type = MESSAGE_READ_DONE, .n_tokens = (int64_t)n};
    if (send_message(runner, &answer) == 0)
        return 0;
    return err_set(err, runner->sink_err.code, "%s", runner->sink_err.message);
}
