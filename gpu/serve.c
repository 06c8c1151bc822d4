/* serve: see serve.h. Between jobs it waits for a message; during a job the
 * runner asks for orders after every step, and the socket is looked at without
 * waiting. An order for a job that is over is dropped: it crossed the job's end
 * on its way. */
#include "gpu/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define OOM_SCORE "500" /* of 1000: before the server and the lab's other programs */

struct server {
    int fd;
    struct message_reader *reader;
    struct message run;   /* the job at hand */
    struct message order; /* what came meanwhile */
    int ending;           /* exit was asked for, or the server is gone */
    struct err fault;     /* why the socket cannot be used any more */
};

int serve_bind(int parent, struct err *err)
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
        (void)refused; /* a wish: training works without it */
        close(fd);
    }
    return 0;
}

static int serve_send(void *self, const struct message *message, struct err *err)
{
    struct server *server = self;
    return message_write(server->fd, message, err);
}

static enum train_order serve_order(void *self, const char *job)
{
    struct server *server = self;
    if (server->ending)
        return TRAIN_CANCEL;
    int got = message_read(server->reader, 0, &server->order, &server->fault);
    if (got == 0)
        return TRAIN_GO;
    if (got < 0 || server->order.type == MESSAGE_EXIT) {
        server->ending = 1;
        return TRAIN_CANCEL;
    }
    if (server->order.type == MESSAGE_RUN) {
        err_set(&server->fault, ERR_PROTOCOL, "job %s came while job %s was running",
                server->order.job, job);
        server->ending = 1;
        return TRAIN_CANCEL;
    }
    if (strcmp(server->order.job, job) != 0)
        return TRAIN_GO;
    return server->order.type == MESSAGE_CANCEL ? TRAIN_CANCEL
           : server->order.type == MESSAGE_STOP ? TRAIN_STOP
                                                : TRAIN_GO;
}

/* The server's end of the socket closing is how we are told to go. */
static int how_it_ended(const struct server *server, struct err *err)
{
    if (server->fault.code == ERR_NONE || server->fault.code == ERR_IO)
        return 0;
    return err_set(err, server->fault.code, "%s", server->fault.message);
}

static int take_messages(struct server *server, struct runner *runner, struct err *err)
{
    while (!server->ending) {
        if (message_read(server->reader, -1, &server->run, &server->fault) < 0)
            return how_it_ended(server, err);
        if (server->run.type == MESSAGE_EXIT)
            return 0;
        const enum message_type type = server->run.type;
        if ((type == MESSAGE_RUN && runner_run(runner, &server->run, err) != 0) ||
            (type == MESSAGE_PROBE && runner_probe(runner, &server->run, err) != 0))
            return err->code == ERR_IO ? 0 : -1;
    }
    return how_it_ended(server, err);
}

int serve(const struct runner_setup *setup, int fd, struct err *err)
{
    struct server server = {.fd = fd};
    const struct runner_sink sink = {.self = &server, .send = serve_send, .order = serve_order};
    struct runner *runner = NULL;
    int result = -1;
    server.reader = message_reader_new(fd);
    if (!server.reader)
        return err_set(err, ERR_NO_MEMORY, "no memory to read messages");
    if (runner_open(setup, &sink, &runner, err) != 0 || runner_hello(runner, err) != 0)
        goto out;
    result = take_messages(&server, runner, err);
out:
    runner_close(runner);
    message_clear(&server.run);
    message_clear(&server.order);
    message_reader_free(server.reader);
    return result;
}
