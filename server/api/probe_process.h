/* probe: asks a stored model what follows a text, in a trainer process of its
 * own on the CPU: the devices go on training, and nothing of it runs in this
 * process. One at a time. Pool threads. */
#ifndef TOKENFATE_SERVER_PROBE_H
#define TOKENFATE_SERVER_PROBE_H

#include <stdint.h>

#include "config/err.h"
#include "config/settings.h"

enum {
    PROBE_SECONDS = 120, /* the largest model on a busy processor */
    PROBE_RETRY_SECONDS = 2
};

struct probe_question {
    const char *job, *spec; /* id and complete spec of the job */
    const char *file;       /* its model */
    int vocab;
    int32_t *ids; /* [n] of the model */
    int n;
};

/* logp[vocab] of the token after the ids. ERR_TOO_MANY while another probe runs;
 * what the trainer says; ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_PROTOCOL. */
int probe_ask(const struct settings *settings, const struct probe_question *question, float *logp,
              struct err *err);

#endif
