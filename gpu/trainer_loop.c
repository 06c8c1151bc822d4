/* trainer_loop: see trainer_loop.h. Between jobs it blocks on the socket; during a job the runner
 * polls for orders after every step. An order for a job that has ended is dropped: it was sent
 * before the server knew of the end. */
#include "gpu/trainer_loop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "gpu/signals.h"

#define OOM_SCORE "500" /* of 1000: the trainer is killed before the server and other programs */

struct loop {
    int fd;
    struct message_reader *reader;
    struct message run;   /* the current job */
    struct message order; /* received during the job */
    int ending;           /* exit was received, or the server is gone */
    struct err fault;     /* first error of the socket */
};

int trainer_loop_bind(int parent, struct err *err)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "cannot follow the parent process");
    if (getppid() != parent)
        return err_set(err, ERR_UNAVAILABLE, "the parent process %d is gone", parent);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t refused = write(fd, OOM_SCORE, strlen(OOM_SCORE));
        (void)refused; /* optional: training works without it */
        close(fd);
    }
    return 0;
}

static int loop_send(void *self, const struct message *message, struct err *err)
{
    struct loop *loop = self;
    return message_write(loop->fd, message, err);
}

static enum train_order loop_order(void *self, const char *job)
{
    struct loop *loop = self;
    if (loop->ending)
        return TRAIN_CANCEL;
    int got = message_read(loop->reader, 0, &loop->order, &loop->fault);
    if (got == 0)
        return TRAIN_GO;
    if (got < 0 || loop->order.type == MESSAGE_EXIT) {
        loop->ending = 1;
        return TRAIN_CANCEL;
    }
    if (loop->order.type == MESSAGE_RUN) {
        err_set(&loop->fault, ERR_PROTOCOL, "job %s came while job %s was running", loop->order.job,
                job);
        loop->ending = 1;
        return TRAIN_CANCEL;
    }
    if (strcmp(loop->order.job, job) != 0)
        return TRAIN_GO;
    return loop->order.type == MESSAGE_CANCEL ? TRAIN_CANCEL
           : loop->order.type == MESSAGE_STOP ? TRAIN_STOP
                                              : TRAIN_GO;
}

/* EOF on the socket means that the server is gone: a normal end. */
static int how_it_ended(const struct loop *loop, struct err *err)
{
    if (loop->fault.code == ERR_NONE || loop->fault.code == ERR_IO)
        return 0;
    return err_set(err, loop->fault.code, "%s", loop->fault.message);
}

static int take_messages(struct loop *loop, struct runner *runner, struct err *err)
{
    while (!loop->ending) {
        if (message_read(loop->reader, -1, &loop->run, &loop->fault) < 0)
            return how_it_ended(loop, err);
        if (loop->run.type == MESSAGE_EXIT)
            return 0;
        const enum message_type type = loop->run.type;
        if ((type == MESSAGE_RUN && runner_run(runner, &loop->run, err) != 0) ||
            (type == MESSAGE_PROBE && runner_probe(runner, &loop->run, err) != 0) ||
            (type == MESSAGE_READ && runner_read(runner, &loop->run, err) != 0))
            return err->code == ERR_IO ? 0 : -1;
    }
    return how_it_ended(loop, err);
}

int trainer_loop(const struct runner_setup *setup, int fd, struct err *err)
{
    struct loop loop = {.fd = fd};
    const struct runner_sink sink = {.self = &loop, .send = loop_send, .order = loop_order};
    struct runner *runner = NULL;
    int result = -1;
    signals_block();
    loop.reader = message_reader_new(fd);
    if (!loop.reader)
        return err_set(err, ERR_NO_MEMORY, "no memory to read messages");
    if (runner_open(setup, &sink, &runner, err) != 0 || runner_hello(runner, err) != 0)
        goto out;
    result = take_messages(&loop, runner, err);
out:
    runner_close(runner);
    message_clear(&loop.run);
    message_clear(&loop.order);
    message_reader_free(loop.reader);
    return result;
}
