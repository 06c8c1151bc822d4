/* runner: runs jobs one after the other in a warm process: tokenizer, last dataset and backend are
 * kept between jobs. Turns a `run` message into train_run, and the callbacks of train into messages
 * (config/message.h), which leave through a sink: the server's socket (trainer_loop.h) or standard
 * output (standalone.h). One thread. */
#ifndef TOKENFATE_RUNNER_H
#define TOKENFATE_RUNNER_H

#include "config/err.h"
#include "config/message.h"
#include "config/record_grid.h"
#include "gpu/train.h"
#include "lab/groups.h"

/* Destination of messages and source of orders. */
struct runner_sink {
    void *self;
    int (*send)(void *self, const struct message *message, struct err *err);
    /* Non-blocking: the pending order for the running job. */
    enum train_order (*order)(void *self, const char *job);
};

struct runner_setup {
    const char *share;  /* folder with tokenizers/ */
    const char *device; /* "cpu" or "cuda:N"; a job that names another one fails */
    const char *build;
    int threads; /* 0: as many as the process may run on */
};

struct runner;

/* Open the device; a failure is reported by runner_hello and fails every job. setup's strings and
 * the sink are borrowed. ERR_NO_MEMORY. */
int runner_open(const struct runner_setup *setup, const struct runner_sink *sink,
                struct runner **out, struct err *err);
void runner_close(struct runner *runner);

/* Send hello, every device, ready. The error of send. */
int runner_hello(struct runner *runner, struct err *err);

/* Run the job of a `run` message and send its end: done, stopped, cancelled or failed. 0: ready for
 * the next job. -1: this process must end, with the error of send, or ERR_DEVICE. */
int runner_run(struct runner *runner, const struct message *run, struct err *err);

/* Answer a `probe` message with `probed` or `failed`. Returns as runner_run. */
int runner_probe(struct runner *runner, const struct message *probe, struct err *err);

/* Answer a `read` message with `read_done` or `read_failed`. Lowers the priority of the whole
 * process, for good. -1: this process must end, with the error of send. */
int runner_read(struct runner *runner, const struct message *read, struct err *err);

/* Which epochs of the current job have records. */
struct record_grid runner_grid(const struct runner *runner);
/* Groups of the current job, for sinks that print their names. */
const struct groups *runner_groups(const struct runner *runner);

#endif
