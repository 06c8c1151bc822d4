/* standalone: tokenfate-trainer without a server: runs one spec and prints the messages that a
 * server would get, one JSON object a line; epoch records in the API's form. One thread; signals are
 * blocked in it and in the backend's threads (gpu/signals.h). */
#ifndef TOKENFATE_STANDALONE_H
#define TOKENFATE_STANDALONE_H

#include <stdio.h>

#include "config/err.h"
#include "gpu/runner.h"

struct standalone_options {
    const char *corpus_path; /* folders with texts, separated by ':' */
    const char *dir;         /* for checkpoints and models; "" = none */
    int resume;              /* continue from dir's checkpoint */
    int64_t checkpoint_seconds;
};

/* Read a spec from in, run it, print to out. The first interrupt (SIGINT, SIGTERM; SIGHUP and
 * SIGXCPU unless ignored) stops with a checkpoint in dir; later ones have no effect, because batch
 * systems and shells often send two. Signals stay blocked afterwards. 0: done, stopped or cancelled. -1: the job could not start or failed (the line
 * `failed` was printed then). */
int standalone(const struct runner_setup *setup, const struct standalone_options *options, FILE *in,
               FILE *out, struct err *err);

/* Print one line of JSON for every device: its description, or why it is unavailable; utilisation
 * (percent) and temperature (Celsius) are -1 if unknown. */
int standalone_devices(const struct runner_setup *setup, FILE *out, struct err *err);

#endif
