/* fake_trainer: speaks the trainer's side of the protocol without training, so
 * that tests of the server can have a trainer that behaves badly on purpose.
 * Started with the real one's command line; the environment says how it acts:
 *
 *   FAKE_TRAINER        good (default): records of a made-up but reproducible
 *                         curve, all the way to done; obeys cancel and stop
 *                       mute: says nothing at all    exit: ends before hello
 *                       version: hello of another version
 *                       garbage: bytes that are no frame, at FAKE_TRAINER_EPOCH
 *                       crash: abort() when it comes to FAKE_TRAINER_EPOCH; a
 *                         run that resumes behind it ends well
 *                       hang: stops talking and reading at FAKE_TRAINER_EPOCH
 *                       fail: reports FAKE_TRAINER_CODE at FAKE_TRAINER_EPOCH
 *                       deaf: as good, but ignores cancel, stop and exit
 *                       replay: as good, but begins at epoch 0 every time
 *                       alone: as good, but its device takes one process at a time, which
 *                         holds the lock of the file FAKE_TRAINER_LOCK
 *   FAKE_TRAINER_CODE   diverged
 *   FAKE_TRAINER_EPOCH  3
 *   FAKE_TRAINER_MS     time that one epoch takes: 1
 *   FAKE_TRAINER_CARDS  GPUs that are there: 0
 *
 * It leaves by _exit wherever it stands: what it holds goes with it. */
#include "config/message.h"
#include "config/record.h"
#include "config/record_grid.h"
#include "config/spec.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FAKE_FD = 3 };

struct fake {
    const char *mode;
    int64_t bad_epoch;
    int ms, threads;
    struct message_reader *reader;
};

static const char *fake_environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value ? value : fallback;
}

static void fake_die(const struct err *err)
{
    fprintf(stderr, "fake_trainer: %s\n", err->message);
    _exit(4);
}

static void fake_send(const struct message *message)
{
    struct err err = ERR_INIT;
    if (message_write(FAKE_FD, message, &err))
        fake_die(&err);
}

static void fake_say(enum message_type type, const char *job, int64_t epoch)
{
    struct message message = {.type = type, .epoch = epoch};
    snprintf(message.job, sizeof message.job, "%s", job);
    fake_send(&message);
}

static int is_mode(const struct fake *fake, const char *mode)
{
    return strcmp(fake->mode, mode) == 0;
}

/* Card `index` of so many; of none, the first one is told not to be there. */
static void fake_card(int index, int cards)
{
    char id[32];
    snprintf(id, sizeof id, "cuda:%d", index);
    fake_send(&(struct message){.type = MESSAGE_DEVICE,
                                .id = id,
                                .kind = "cuda",
                                .name = cards ? "made-up card" : "",
                                .bytes = cards ? INT64_C(8) << 30 : 0,
                                .free_bytes = cards ? INT64_C(8) << 30 : 0,
                                .code = cards ? "" : "no_driver",
                                .text = cards ? "" : "there is no GPU here",
                                .utilisation = -1,
                                .temperature = -1,
                                .driver = "",
                                .identity = cards ? id : ""});
}

/* 1 if another process has the device that takes one at a time. The lock lasts as long as this
 * process. */
static int fake_is_taken(const struct fake *fake)
{
    if (!is_mode(fake, "alone"))
        return 0;
    const int file =
        open(fake_environment("FAKE_TRAINER_LOCK", "/dev/null"), O_RDWR | O_CREAT, 0600);
    return file < 0 || flock(file, LOCK_EX | LOCK_NB) != 0;
}

static void fake_greet(const struct fake *fake)
{
    const int is_taken = fake_is_taken(fake);
    fake_send(&(struct message){.type = MESSAGE_HELLO,
                                .version = MESSAGE_VERSION + is_mode(fake, "version"),
                                .text = "fake"});
    fake_send(&(struct message){.type = MESSAGE_DEVICE,
                                .id = "cpu",
                                .kind = "cpu",
                                .name = "made-up processor",
                                .bytes = INT64_C(8) << 30,
                                .free_bytes = INT64_C(4) << 30,
                                .code = is_taken ? "unavailable" : "",
                                .text = is_taken ? "another process has it" : "",
                                .utilisation = -1,
                                .temperature = -1,
                                .driver = "",
                                .identity = ""});
    const int cards = atoi(fake_environment("FAKE_TRAINER_CARDS", "0"));
    for (int i = 0; i < cards || i == 0; i++)
        fake_card(i, cards);
    fake_send(&(struct message){.type = MESSAGE_READY});
}

/* One epoch's record: smooth curves that differ between groups. */
static void fake_epoch(const struct spec *spec, const char *job, int64_t epoch)
{
    int n_groups = 3 + spec->groups.n_custom, n_tokens = 3 * spec->groups.size;
    for (int i = 0; i < spec->groups.n_custom; i++)
        n_tokens += spec->groups.custom[i].n_tokens;
    size_t values_bytes = (size_t)record_size(n_groups) * sizeof(double);
    size_t bytes = values_bytes + (size_t)n_tokens * sizeof(float);
    char *payload = calloc(1, bytes);
    if (!payload)
        _exit(5);
    double *values = (double *)payload;
    float *tokens = (float *)(payload + values_bytes);
    double progress = 1 - exp(-(double)epoch / 50);
    for (int i = 0; i < record_size(n_groups); i++)
        values[i] = -10.85 + 0.01 * i * progress;
    values[RECORD_LOSS] = 10.85 - 4 * progress;
    for (int i = 0; i < n_tokens; i++)
        tokens[i] = (float)(-10.85 - 0.01 * i * progress);
    struct message message = {.type = MESSAGE_EPOCHS,
                              .from = epoch,
                              .to = epoch,
                              .n = 1,
                              .n_values = record_size(n_groups),
                              .n_tokens = n_tokens,
                              .payload = payload,
                              .payload_bytes = bytes};
    snprintf(message.job, sizeof message.job, "%s", job);
    fake_send(&message);
    free(payload);
}

/* The bad thing that this mode does when its epoch has come. */
static void fake_misbehave(const struct fake *fake, const char *job)
{
    if (is_mode(fake, "crash"))
        abort();
    if (is_mode(fake, "hang"))
        for (;;)
            pause();
    if (is_mode(fake, "garbage")) {
        ssize_t ignored = write(FAKE_FD, "{\"type\":\xff\n", 10);
        (void)ignored;
        pause();
    }
    if (is_mode(fake, "fail")) {
        struct message message = {.type = MESSAGE_FAILED,
                                  .epoch = fake->bad_epoch,
                                  .code = (char *)fake_environment("FAKE_TRAINER_CODE", "diverged"),
                                  .text = "the loss is not finite"};
        snprintf(message.job, sizeof message.job, "%s", job);
        fake_send(&message);
    }
}

/* An order that came meanwhile: the message type of the answer, or -1. */
static int fake_orders(struct fake *fake)
{
    struct message order = {0};
    struct err err = ERR_INIT;
    int got = message_read(fake->reader, fake->ms, &order, &err);
    enum message_type type = order.type;
    message_clear(&order);
    if (got < 0)
        _exit(0);
    if (got == 0 || is_mode(fake, "deaf"))
        return -1;
    if (type == MESSAGE_EXIT)
        _exit(0);
    return type == MESSAGE_CANCEL ? MESSAGE_CANCELLED : MESSAGE_STOPPED;
}

static const char *fake_precision(const struct spec *spec)
{
    const enum spec_precision asked = spec->train.precision;
    return fake_environment("FAKE_TRAINER_PRECISION",
                            asked == PRECISION_AUTO ? "fp32" : spec_precision_name(asked));
}

static void fake_run(struct fake *fake, const struct message *run)
{
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    if (spec_parse(run->spec, strlen(run->spec), &spec, &err))
        fake_die(&err);
    const struct record_grid grid = {spec->train.record_every, spec->train.epochs};
    int64_t epoch = is_mode(fake, "replay") ? 0 : run->resume;
    struct message started = {.type = MESSAGE_STARTED,
                              .epoch = epoch,
                              .bytes = 1000000,
                              .precision = (char *)fake_precision(spec),
                              .isa = "made-up",
                              .threads = fake->threads ? fake->threads : 1,
                              .name = "made-up processor",
                              .build = "fake"};
    memcpy(started.job, run->job, sizeof started.job);
    fake_send(&started);
    int answer = -1;
    for (; epoch <= spec->train.epochs && answer < 0; epoch++) {
        if (epoch == fake->bad_epoch) {
            fake_misbehave(fake, run->job);
            if (is_mode(fake, "fail"))
                goto out;
        }
        if (record_grid_has(grid, epoch))
            fake_epoch(spec, run->job, epoch);
        fake_say(MESSAGE_ALIVE, run->job, epoch);
        answer = fake_orders(fake);
    }
    if (answer == MESSAGE_STOPPED)
        fake_say(MESSAGE_CHECKPOINTED, run->job, epoch);
    fake_say(answer < 0 ? MESSAGE_DONE : (enum message_type)answer, run->job, epoch - 1);
out:
    spec_free(spec);
}

int main(int argc, char **argv)
{
    struct message message = {0};
    struct err err = ERR_INIT;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives a test */
    struct fake fake = {.mode = fake_environment("FAKE_TRAINER", "good"),
                        .bad_epoch = atoll(fake_environment("FAKE_TRAINER_EPOCH", "3")),
                        .ms = atoi(fake_environment("FAKE_TRAINER_MS", "1")),
                        .reader = message_reader_new(FAKE_FD)};
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--threads") == 0)
            fake.threads = atoi(argv[i + 1]);
    if (is_mode(&fake, "exit"))
        _exit(3);
    if (is_mode(&fake, "mute"))
        pause();
    fake_greet(&fake);
    while (message_read(fake.reader, -1, &message, &err) == 1) {
        if (message.type == MESSAGE_EXIT && !is_mode(&fake, "deaf"))
            _exit(0);
        if (message.type == MESSAGE_READ)
            _exit(5); /* a text that costs every process that reads it */
        if (message.type == MESSAGE_RUN)
            fake_run(&fake, &message);
    }
    if (is_mode(&fake, "deaf"))
        pause();
    _exit(err.code == ERR_IO ? 0 : 4);
}
