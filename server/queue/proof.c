/* proof: see proof.h. The child limits its own time (--seconds of gpu/trainer.c); the limit here is
 * for a child that does not obey, and lies far above. */
#include "server/queue/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/clock.h"
#include "server/queue/spawn.h"

enum {
    PROOF_SECONDS = 1800, /* 120 s for a precision, for each of its checks alone if it dies */
    PROOF_LINE_MAX = 8192 /* bytes of a line; the child's are below 2 KiB */
};

extern char **environ;

struct proof_child {
    pid_t pid;
    int fd; /* its standard output */
    size_t n;
    char line[PROOF_LINE_MAX];
    struct proof proofs[PROOF_PRECISIONS];
    int64_t began_ms;
};

/* 0, or an errno. */
static int proof_posix_spawn(const char *program, char **argv, int out, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (!error && !(error = spawn_attributes(&attributes))) {
        error = posix_spawn(pid, program, &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int proof_start(struct proof_child *child, const struct settings *settings,
                       const char *device, struct err *err)
{
    char program[SETTINGS_TEXT_MAX], parent[16];
    int fd[2];
    if (spawn_trainer_path(settings, program, err))
        return -1;
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    char *argv[] = {program, "--qualify", "--device", (char *)device, "--parent", parent, NULL};
    if (pipe2(fd, O_CLOEXEC) != 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no pipe for %s", program);
    errno = proof_posix_spawn(program, argv, fd[1], &child->pid);
    close(fd[1]);
    child->fd = fd[0];
    if (!errno)
        return 0;
    err_set_errno(err, ERR_UNAVAILABLE, "cannot start %s", program);
    close(fd[0]);
    return -1;
}

/* ---- its lines ---- */

static void proof_copy(const json_t *line, const char *key, char *to, size_t n)
{
    const char *text = json_string_value(json_object_get(line, key));
    snprintf(to, n, "%s", text ? text : "");
}

static enum proof_state proof_state_of(const char *word)
{
    for (int state = 0; state < PROOF_STATES; state++)
        if (word && strcmp(word, proofs_state_name((enum proof_state)state)) == 0)
            return (enum proof_state)state;
    return PROOF_COULD_NOT_TRY;
}

static void proof_verdict(const json_t *line, struct proof *proof)
{
    proof->state = proof_state_of(json_string_value(json_object_get(line, "state")));
    proof->checks = (int)json_integer_value(json_object_get(line, "checks"));
    proof->ms = json_integer_value(json_object_get(line, "ms"));
    proof->error = json_number_value(json_object_get(line, "error"));
    proof->bound = json_number_value(json_object_get(line, "bound"));
    proof_copy(line, "worst", proof->worst, sizeof proof->worst);
    proof_copy(line, "isa", proof->library, sizeof proof->library);
    proof_copy(line, "reason", proof->reason, sizeof proof->reason);
}

static void proof_take(struct proof_child *child, const char *text, size_t n)
{
    json_t *line = json_loadb(text, n, 0, NULL);
    const char *type = json_string_value(json_object_get(line, "type"));
    const char *precision = json_string_value(json_object_get(line, "precision"));
    for (int i = 0; type && precision && i < PROOF_PRECISIONS; i++) {
        if (strcmp(precision, proofs_precision(i)) != 0)
            continue;
        child->proofs[i].ms = clock_monotonic_ms() - child->began_ms;
        if (strcmp(type, "check") == 0)
            child->proofs[i].checks++;
        else if (strcmp(type, "verdict") == 0)
            proof_verdict(line, &child->proofs[i]);
    }
    json_decref(line);
}

/* 1: there was something to read; 0: the end. */
static int proof_read(struct proof_child *child)
{
    const ssize_t got = read(child->fd, child->line + child->n, sizeof child->line - child->n);
    if (got < 0 && errno == EINTR)
        return 1;
    if (got <= 0)
        return 0;
    child->n += (size_t)got;
    char *end;
    while ((end = memchr(child->line, '\n', child->n))) {
        const size_t used = (size_t)(end + 1 - child->line);
        proof_take(child, child->line, used);
        memmove(child->line, end + 1, child->n - used);
        child->n -= used;
    }
    if (child->n == sizeof child->line)
        child->n = 0; /* no line of ours is as long */
    return 1;
}

/* ---- its life ---- */

/* ERR_CANCELLED, ERR_TIMEOUT, or 0 at the end of its output. */
static int proof_listen(struct proof_child *child, int wake_fd, const atomic_int *stopping,
                        void (*tell)(void *self, const struct proof proofs[PROOF_PRECISIONS]),
                        void *self, struct err *err)
{
    const int64_t deadline = child->began_ms + PROOF_SECONDS * 1000;
    for (;;) {
        struct pollfd fds[] = {{.fd = child->fd, .events = POLLIN},
                               {.fd = wake_fd, .events = POLLIN}};
        const int64_t left = deadline - clock_monotonic_ms();
        eventfd_t woken;
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "no verdict within %d s", PROOF_SECONDS);
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
            return err_set_errno(err, ERR_IO, "cannot wait for the checks");
        if (fds[1].revents)
            eventfd_read(wake_fd, &woken);
        if (atomic_load(stopping))
            return err_set(err, ERR_CANCELLED, "the server stops");
        if (!fds[0].revents)
            continue;
        if (!proof_read(child))
            return 0;
        tell(self, child->proofs);
    }
}

/* What has no verdict could not be tried; err: why. */
static void proof_finish(struct proof_child *child, int status, const struct err *why,
                         struct proof out[PROOF_PRECISIONS])
{
    for (int i = 0; i < PROOF_PRECISIONS; i++) {
        struct proof *proof = &child->proofs[i];
        if (proof->state == PROOF_RUNNING) {
            proof->state = PROOF_COULD_NOT_TRY;
            if (why->code != ERR_NONE)
                snprintf(proof->reason, sizeof proof->reason, "%.399s", why->message);
            else
                snprintf(proof->reason, sizeof proof->reason,
                         "the checks ended without a verdict (%s %d)",
                         WIFSIGNALED(status) ? "signal" : "status",
                         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
        out[i] = *proof;
    }
}

int proof_run(const struct settings *settings, const char *device, int wake_fd,
              const atomic_int *stopping,
              void (*tell)(void *self, const struct proof proofs[PROOF_PRECISIONS]), void *self,
              struct proof out[PROOF_PRECISIONS], struct err *err)
{
    struct proof_child child = {.began_ms = clock_monotonic_ms()};
    struct err why = ERR_INIT;
    int status = 0;
    for (int i = 0; i < PROOF_PRECISIONS; i++)
        child.proofs[i] = (struct proof){.state = PROOF_RUNNING, .started_at = db_now()};
    if (proof_start(&child, settings, device, err) != 0)
        return -1;
    const int failed = proof_listen(&child, wake_fd, stopping, tell, self, &why);
    if (failed)
        kill(-child.pid, SIGKILL); /* its group: the check that runs, too */
    close(child.fd);
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (why.code == ERR_CANCELLED)
        return err_set(err, ERR_CANCELLED, "%s", why.message);
    proof_finish(&child, status, &why, out);
    return 0;
}
