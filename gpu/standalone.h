/* standalone: tokenfate-trainer by itself, for a look at one experiment without a
 * server: runs one spec and prints what the server would be told, one JSON
 * object a line; epoch records in the shape of the API. One thread. */
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

/* Reads a spec from in, runs it, prints to out. The first interrupt (SIGINT,
 * SIGTERM) stops with a checkpoint in dir. 0: done, stopped or cancelled. -1: the
 * job could not start or failed (the line `failed` was printed then). */
int standalone(const struct runner_setup *setup, const struct standalone_options *options, FILE *in,
               FILE *out, struct err *err);

/* Prints one line of JSON for every device: what it is, or why it cannot be had;
 * utilisation (percent) and temperature (Celsius) are -1 where nobody knows. */
int standalone_devices(const struct runner_setup *setup, FILE *out, struct err *err);

#endif
