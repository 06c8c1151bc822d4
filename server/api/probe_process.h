/* probe_process: the next-token distribution of a stored model, computed by a trainer
 * process of its own on the CPU. The devices continue to train, and no model code runs in
 * the server's process.
 *
 * api/probe calls it on pool threads. It owns the trainer process for the duration of the
 * call. Invariant: at most one probe process runs; a second caller does not wait but gets
 * ERR_TOO_MANY, so that probes never occupy more than one pool thread. */
#ifndef TOKENFATE_PROBE_PROCESS_H
#define TOKENFATE_PROBE_PROCESS_H

#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"

enum {
    PROBE_PROCESS_SECONDS = 120,    /* the largest model on a busy processor */
    PROBE_PROCESS_RETRY_SECONDS = 2 /* Retry-After while another probe runs */
};

struct probe_process_question {
    const char *job, *spec; /* id and complete spec of the job */
    const char *file;       /* path of its model */
    int vocab;
    int32_t *ids; /* [n] the prompt in model numbering */
    int n;
};

/* Fill logp[vocab] with log p of the token after the prompt. ERR_TOO_MANY while another
 * probe runs; ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_PROTOCOL; else the error that the trainer
 * reports. */
int probe_process_ask(const struct settings *settings,
                      const struct probe_process_question *question, float *logp, struct err *err);

#endif
