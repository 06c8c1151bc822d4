/* runner: jobs, one after the other, in a process that stays warm: tokenizer,
 * the last dataset and the backend are kept between them. Turns a `run` message
 * into train_run and what train reports into messages (config/message.h), which
 * leave through a sink: the server's socket (trainer_loop.h) or a page of lines
 * (standalone.h). One thread. */
#ifndef TOKENFATE_RUNNER_H
#define TOKENFATE_RUNNER_H

#include "config/err.h"
#include "config/message.h"
#include "gpu/train.h"
#include "lab/groups.h"

/* Where messages go and orders come from. */
struct runner_sink {
    void *self;
    int (*send)(void *self, const struct message *message, struct err *err);
    /* Without waiting: what is asked of the job that runs now. */
    enum train_order (*order)(void *self, const char *job);
};

struct runner_setup {
    const char *share;  /* folder with tokenizers/ */
    const char *device; /* "cpu" or "cuda:N"; a job that names another one fails */
    const char *build;
    int threads; /* 0: as many as the process may run on */
};

struct runner;

/* Opens the device; one that cannot be opened is reported by runner_hello and
 * fails every job. setup's texts and the sink are borrowed. ERR_NO_MEMORY. */
int runner_open(const struct runner_setup *setup, const struct runner_sink *sink,
                struct runner **out, struct err *err);
void runner_close(struct runner *runner);

/* Sends hello, every device, ready. What send said. */
int runner_hello(struct runner *runner, struct err *err);

/* Runs the job of a `run` message to its end, which is sent: done, stopped,
 * cancelled or failed. 0: ready for the next. -1: this process must end, with
 * what send said, or ERR_DEVICE. */
int runner_run(struct runner *runner, const struct message *run, struct err *err);

/* Answers a `probe` message with `probed` or `failed`. As runner_run. */
int runner_probe(struct runner *runner, const struct message *probe, struct err *err);

/* Groups of the job at hand, for sinks that print their names. */
const struct groups *runner_groups(const struct runner *runner);

#endif
