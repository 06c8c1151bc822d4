/* step_timer: training steps of an experiment on a GPU, on order, timed. Runs the
 * job as a trainer does (gpu/runner.h), statistics and all, and holds it between
 * two orders, so that contenders can take turns on one card.
 *
 *   step_timer SHARE CORPUS DEVICE SPEC_FILE AHEAD      CORPUS: path of the text
 *
 * Prints {"bytes", "precision", "device", "isa"} when it has done its first steps;
 * then each line N of its standard input is answered by {"steps", "seconds"}; it
 * ends at the end of input. Steps are submitted ahead of their results: the first
 * AHEAD of an order, more than are ever under way, are not timed, so that N are
 * counted while the card never waits. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/hash.h"
#include "gpu/runner.h"

struct timer {
    int64_t ahead;
    int64_t left; /* steps of the order at hand that are still to come */
    int64_t steps;
    double start;
    int is_ready;
    char about[512];
    struct err failure;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int send(void *self, const struct message *message, struct err *err)
{
    struct timer *timer = self;
    if (message->type == MESSAGE_STARTED)
        snprintf(timer->about, sizeof timer->about,
                 "{\"bytes\":%" PRId64
                 ",\"precision\":\"%s\",\"device\":\"%s\",\"isa\":\"%s\",\"build\":\"%s\"}",
                 message->bytes, message->precision, message->name, message->isa, message->build);
    if (message->type == MESSAGE_FAILED)
        return err_set(err, err_from_name(message->code), "%s", message->text);
    return 0;
}

/* The next order: 1, or 0 at the end of input. */
static int take_order(struct timer *timer)
{
    char line[64];
    timer->steps = fgets(line, sizeof line, stdin) ? atoll(line) : 0;
    timer->left = timer->steps + timer->ahead;
    return timer->steps > 0;
}

/* Called after every step. */
static enum train_order look(void *self, const char *job)
{
    struct timer *timer = self;
    (void)job;
    timer->left--;
    if (timer->left == timer->steps)
        timer->start = now();
    if (timer->left > 0)
        return TRAIN_GO;
    if (timer->is_ready)
        printf("{\"steps\":%" PRId64 ",\"seconds\":%.9g}\n", timer->steps, now() - timer->start);
    else
        puts(timer->about);
    fflush(stdout);
    timer->is_ready = 1;
    return take_order(timer) ? TRAIN_GO : TRAIN_CANCEL;
}

static char *read_file(const char *path)
{
    char *text = calloc(1, SPEC_BYTES_MAX + 1);
    FILE *file = fopen(path, "r");
    if (file && text)
        text[fread(text, 1, SPEC_BYTES_MAX, file)] = '\0';
    if (file)
        fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    struct timer timer = {0};
    const struct runner_sink sink = {&timer, send, look};
    struct runner *runner = NULL;
    struct err err = ERR_INIT;
    if (argc != 6) {
        fputs("usage: step_timer SHARE CORPUS DEVICE SPEC_FILE AHEAD\n", stderr);
        return 2;
    }
    const struct runner_setup setup = {
        .share = argv[1], .device = argv[3], .build = TOKENFATE_BUILD};
    timer.left = timer.ahead = atoll(argv[5]);
    char *spec = read_file(argv[4]);
    const struct message run = {
        .type = MESSAGE_RUN, .job = "bench", .spec = spec, .corpus = argv[2], .dir = ""};
    int result = -1;
    if (spec && hash_init(&err) == 0 && runner_open(&setup, &sink, &runner, &err) == 0)
        result = runner_run(runner, &run, &err);
    if (result != 0)
        fprintf(stderr, "step_timer: %s\n", err.message);
    runner_close(runner);
    free(spec);
    return result != 0;
}
