/* standalone: see standalone.h. A sink that prints each message as one line, and an `epochs`
 * message as one line per record. */
#include "gpu/standalone.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "gpu/signals.h"
#include "lab/text.h"

#define JOB "alone"

struct printer {
    FILE *out;
    struct runner *runner;
    int interrupted;
    struct err failure; /* error of the job, if it failed */
};

static void print_line(FILE *out, const char *type, const struct message *message)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"precision", message->precision}, {"isa", message->isa},
                 {"device", message->name},         {"build", message->build},
                 {"code", message->code},           {"text", message->text}};
    struct emit emit;
    emit_open(&emit, out, EMIT_COMPACT);
    emit_object(&emit, NULL);
    emit_text(&emit, "type", type);
    emit_integer(&emit, "epoch", message->epoch);
    if (message->bytes) {
        emit_integer(&emit, "bytes", message->bytes);
        emit_integer(&emit, "threads", message->threads);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text)
            emit_text(&emit, texts[i].name, texts[i].text);
    emit_end(&emit);
    fputc('\n', out);
}

static void print_epochs(struct printer *printer, const struct message *message)
{
    const struct groups *groups = runner_groups(printer->runner);
    const char *names[SPEC_GROUPS_MAX];
    double values[RECORD_SCALARS + SPEC_GROUPS_MAX * RECORD_FIELDS];
    for (int g = 0; g < groups->n; g++)
        names[g] = groups->group[g].name;
    int64_t e = message->from;
    for (int64_t i = 0; i < message->n; i++) {
        struct emit json;
        message_record(message, i, values, NULL);
        emit_open(&json, printer->out, EMIT_COMPACT);
        record_emit(&json, JOB, e, values, groups->n, names);
        fputc('\n', printer->out);
        e = record_grid_from(runner_grid(printer->runner), e + 1);
    }
}

static int print_message(void *self, const struct message *message, struct err *err)
{
    static const char *const words[MESSAGE_TYPES] = {
        [MESSAGE_STARTED] = "started",
        [MESSAGE_CHECKPOINTED] = "checkpointed",
        [MESSAGE_DONE] = "done",
        [MESSAGE_STOPPED] = "stopped",
        [MESSAGE_CANCELLED] = "cancelled",
        [MESSAGE_FAILED] = "failed",
        [MESSAGE_LOG] = "log",
    };
    struct printer *printer = self;
    if (message->type == MESSAGE_EPOCHS)
        print_epochs(printer, message);
    else if (words[message->type])
        print_line(printer->out, words[message->type], message);
    if (message->type == MESSAGE_FAILED)
        err_set(&printer->failure, err_from_name(message->code), "%s", message->text);
    if (fflush(printer->out) != 0)
        return err_set_errno(err, ERR_IO, "cannot print");
    return 0;
}

/* Interrupts after the first one stay pending: nothing ends the trainer before its checkpoint. */
static enum train_order look_for_interrupt(void *self, const char *job)
{
    struct printer *printer = self;
    (void)job;
    printer->interrupted = printer->interrupted || signals_interrupted();
    return printer->interrupted ? TRAIN_STOP : TRAIN_GO;
}

static char *read_spec(FILE *in, struct err *err)
{
    char *text = malloc(SPEC_BYTES_MAX + 1);
    if (!text) {
        err_set(err, ERR_NO_MEMORY, "no memory for a spec");
        return NULL;
    }
    size_t n = fread(text, 1, SPEC_BYTES_MAX + 1, in);
    if (n > SPEC_BYTES_MAX || ferror(in)) {
        if (ferror(in))
            err_set_errno(err, ERR_IO, "cannot read the spec");
        else
            err_set(err, ERR_TOO_LARGE, "the spec is larger than %d bytes", SPEC_BYTES_MAX);
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

/* Path of the spec's text; "" for the synthetic one. */
static int find_corpus(const char *json, const char *corpus_path, char path[PATH_MAX],
                       struct err *err)
{
    struct spec *spec = NULL;
    if (spec_parse(json, strlen(json), &spec, err) != 0)
        return -1;
    path[0] = '\0';
    int result = strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0
                     ? 0
                     : text_find(corpus_path, spec->corpus.id, path, PATH_MAX, err);
    spec_free(spec);
    return result;
}

static int print_device(void *self, const struct message *message, struct err *err)
{
    FILE *out = self;
    if (message->type != MESSAGE_DEVICE)
        return 0;
    const struct {
        const char *name, *text;
    } texts[] = {
        {"id", message->id},         {"kind", message->kind},         {"name", message->name},
        {"driver", message->driver}, {"identity", message->identity}, {"reason", message->text}};
    struct emit emit;
    emit_open(&emit, out, EMIT_COMPACT);
    emit_object(&emit, NULL);
    emit_bool(&emit, "available", !message->text[0]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        emit_text(&emit, texts[i].name, texts[i].text);
    emit_integer(&emit, "memory_bytes", message->bytes);
    emit_integer(&emit, "free_bytes", message->free_bytes);
    emit_integer(&emit, "utilisation", message->utilisation);
    emit_integer(&emit, "temperature", message->temperature);
    emit_end(&emit);
    fputc('\n', out);
    return fflush(out) == 0 ? 0 : err_set_errno(err, ERR_IO, "cannot print");
}

/* Without a job the runner asks for no order. */
int standalone_devices(const struct runner_setup *setup, FILE *out, struct err *err)
{
    const struct runner_sink sink = {.self = out, .send = print_device};
    struct runner *runner = NULL;
    if (runner_open(setup, &sink, &runner, err) != 0)
        return -1;
    const int result = runner_hello(runner, err);
    runner_close(runner);
    return result;
}

/* A shell ignores SIGINT for a program in the background; sent on purpose it stops the trainer. An
 * ignored signal need not stay pending (POSIX), so both take their default action again. */
static void expect_interrupts(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signals_block();
}

/* Interrupts have their default action until the spec is read: nothing is lost then, and a terminal
 * may never send one. The runner creates the first threads. */
int standalone(const struct runner_setup *setup, const struct standalone_options *options, FILE *in,
               FILE *out, struct err *err)
{
    struct printer printer = {.out = out};
    const struct runner_sink sink = {&printer, print_message, look_for_interrupt};
    char corpus[PATH_MAX];
    int result = -1;
    char *json = read_spec(in, err);
    if (!json)
        return -1;
    if (find_corpus(json, options->corpus_path, corpus, err) != 0)
        goto out;
    expect_interrupts();
    if (runner_open(setup, &sink, &printer.runner, err) != 0)
        goto out;
    const struct message run = {.type = MESSAGE_RUN,
                                .job = JOB,
                                .spec = json,
                                .corpus = corpus,
                                .model = "",
                                .dir = (char *)options->dir,
                                .resume = options->resume ? INT64_MAX : 0,
                                .checkpoint_seconds = options->checkpoint_seconds};
    result = runner_run(printer.runner, &run, err);
    if (result == 0 && printer.failure.code != ERR_NONE)
        result = err_set(err, printer.failure.code, "%s", printer.failure.message);
out:
    runner_close(printer.runner);
    free(json);
    return result;
}
