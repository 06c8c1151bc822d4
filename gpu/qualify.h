/* qualify: a device proves that it computes what the reference computes, and the same bits each
 * time (tokenfate-trainer --qualify). Caller: trainer.c, on the main thread, before any thread
 * exists; the service starts that program and reads its lines (server/queue/proof.h).
 *
 * Each precision runs in a child process with a time limit, because a fault of a device or a hang
 * ends its process. If it dies, the checks that are left run again, each in a process of its own,
 * which names the one that is to blame. */
#ifndef TOKENFATE_QUALIFY_H
#define TOKENFATE_QUALIFY_H

#include <stdio.h>

#include "config/err.h"
#include "config/spec.h"

struct qualify_options {
    const char *device; /* "cuda:0", "cpu" */
    const char *build;
    enum spec_precision precision; /* auto: both, float32 first */
    const char *only;              /* checks whose names contain it; "" = all */
    int seconds;                   /* time limit of a process */
};

/* Print one line of JSON for every check and one with the verdict of each precision. 0: all hold;
 * -1 with the first reason why not. */
int qualify(const struct qualify_options *options, FILE *out, struct err *err);

#endif
