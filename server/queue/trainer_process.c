/* trainer_process: see trainer_process.h. Owns the child's pid and this process's end of the
 * socket pair. Every wait has a limit: writes have a send timeout, reads a deadline, and a
 * child that does not end is given up TRAINER_KILL_SECONDS after SIGKILL. */
#include "server/queue/trainer_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/core_list.h"
#include "server/queue/spawn.h"

enum {
    TRAINER_FD = 3,               /* the child's end of the socket pair */
    TRAINER_SPARE_FD = 10,        /* lowest number to which an inherited descriptor 3 moves */
    TRAINER_REAP_MS = 10,         /* period of waitpid for a child that should end */
    TRAINER_GREETING_SECONDS = 60 /* silence before `ready`: only libraries are loaded */
};

struct trainer_process {
    pid_t pid;
    int fd;
    struct message_reader *reader;
    int n_devices;
    struct trainer_device devices[TRAINER_DEVICES_MAX];
    char build[128];
};

/* --- starting ------------------------------------------------------------------ */

/* Descriptor 3 of the child becomes its socket. If this process's descriptor 3 is to be
 * inherited (the lock may have that number), the child needs it under another number: reserve
 * a free one with a close-on-exec copy. Else -1. */
static int trainer_reserve(void)
{
    int flags = fcntl(TRAINER_FD, F_GETFD);
    if (flags < 0 || flags & FD_CLOEXEC)
        return -1;
    return fcntl(TRAINER_FD, F_DUPFD_CLOEXEC, TRAINER_SPARE_FD);
}

/* Actions in the child, in order: save an inherited 3, put the socket on 3, empty stdin,
 * stdout to stderr. adddup2 clears close-on-exec of the target. 0, or an errno. */
static int trainer_file_actions(posix_spawn_file_actions_t *actions, int child_fd, int spare)
{
    int error = 0;
    if (spare >= 0)
        error = posix_spawn_file_actions_adddup2(actions, TRAINER_FD, spare);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, child_fd, TRAINER_FD);
    if (!error)
        error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, 2, 1);
    return error;
}

/* posix_spawn and not fork: the server has many threads, and between fork and exec only
 * async-signal-safe calls are allowed. 0 and *pid, or an errno. */
static int trainer_posix_spawn(const char *program, char **argv, int child_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = spawn_attributes(&attributes);
    if (!error) {
        int spare = trainer_reserve();
        error = trainer_file_actions(&actions, child_fd, spare);
        if (!error)
            error = posix_spawn(pid, program, &actions, &attributes, argv, environ);
        if (spare >= 0)
            close(spare);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int trainer_spawn(struct trainer_process *process, const struct settings *settings,
                         const char *device, const struct trainer_team *team, struct err *err)
{
    char program[SETTINGS_TEXT_MAX], parent[16], threads[24], cores[CORE_LIST_MAX];
    if (spawn_trainer_path(settings, program, err))
        return -1;
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(threads, sizeof threads, "%lld",
             team->threads ? (long long)team->threads : (long long)settings->threads);
    const int is_bound =
        CPU_COUNT(&team->cores) > 0 && core_list_print(&team->cores, cores, sizeof cores) == 0;
    char *argv[] = {
        program,   device ? "--serve" : "--watch", "--parent",  parent,  "--device", (char *)device,
        "--share", (char *)settings->share,        "--threads", threads, "--cores",  cores,
        NULL};
    if (!is_bound)
        argv[10] = NULL;
    if (!device)
        argv[4] = NULL;
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "cannot make a socket pair for %s", program);
    int error = trainer_posix_spawn(program, argv, fd[1], &process->pid);
    close(fd[1]);
    if (error) {
        close(fd[0]);
        errno = error;
        return err_set_errno(err, ERR_UNAVAILABLE, "cannot start %s", program);
    }
    process->fd = fd[0];
    struct timeval limit = {.tv_sec = TRAINER_SEND_SECONDS};
    setsockopt(process->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return 0;
}

void trainer_device_read(const struct message *message, struct trainer_device *out)
{
    *out = (struct trainer_device){.memory_bytes = message->bytes,
                                   .free_bytes = message->free_bytes,
                                   .available = !message->text[0],
                                   .utilisation = (int)message->utilisation,
                                   .temperature = (int)message->temperature};
    snprintf(out->id, sizeof out->id, "%s", message->id);
    snprintf(out->kind, sizeof out->kind, "%s", message->kind);
    snprintf(out->name, sizeof out->name, "%s", message->name);
    snprintf(out->reason, sizeof out->reason, "%s", message->text);
    snprintf(out->driver, sizeof out->driver, "%s", message->driver);
    snprintf(out->identity, sizeof out->identity, "%s", message->identity);
}

static int trainer_add_device(struct trainer_process *process, const struct message *message,
                              struct err *err)
{
    if (process->n_devices == TRAINER_DEVICES_MAX)
        return err_set(err, ERR_PROTOCOL, "the trainer names more than %d devices",
                       TRAINER_DEVICES_MAX);
    trainer_device_read(message, &process->devices[process->n_devices++]);
    return 0;
}

static int trainer_check_hello(struct trainer_process *process, const struct message *message,
                               struct err *err)
{
    if (message->version != MESSAGE_VERSION)
        return err_set(err, ERR_PROTOCOL, "the trainer speaks version %lld, this program %d",
                       (long long)message->version, MESSAGE_VERSION);
    snprintf(process->build, sizeof process->build, "%s", message->text);
    return 0;
}

/* Greeting: `hello`, then any number of `device`, then `ready`. */
static int trainer_greet(struct trainer_process *process, int64_t silence_seconds, struct err *err)
{
    struct message message = {0};
    int has_hello = 0, result = 0, is_ready = 0;
    while (result == 0 && !is_ready) {
        int got = message_read(process->reader, (int)silence_seconds * 1000, &message, err);
        is_ready = got == 1 && has_hello && message.type == MESSAGE_READY;
        if (got < 0)
            result = -1;
        else if (got == 0)
            result = err_set(err, ERR_TIMEOUT, "the trainer said nothing for %lld seconds",
                             (long long)silence_seconds);
        else if (!has_hello && message.type == MESSAGE_HELLO)
            result = trainer_check_hello(process, &message, err);
        else if (has_hello && message.type == MESSAGE_DEVICE)
            result = trainer_add_device(process, &message, err);
        else if (!is_ready)
            result = err_set(err, ERR_PROTOCOL, "the trainer does not greet as agreed");
        has_hello = 1;
    }
    message_clear(&message);
    return result;
}

int trainer_process_start_team(const struct settings *settings, const char *device,
                               const struct trainer_team *team, struct trainer_process **out,
                               struct err *err)
{
    char how[96];
    struct trainer_process *process = calloc(1, sizeof *process);
    if (!process)
        return err_set(err, ERR_NO_MEMORY, "no memory to start a trainer");
    if (trainer_spawn(process, settings, device, team, err)) {
        free(process);
        return -1;
    }
    process->reader = message_reader_new(process->fd);
    int64_t silence = settings->heartbeat_seconds < TRAINER_GREETING_SECONDS
                          ? settings->heartbeat_seconds
                          : TRAINER_GREETING_SECONDS;
    int result = process->reader ? trainer_greet(process, silence, err)
                                 : err_set(err, ERR_NO_MEMORY, "no memory to start a trainer");
    if (result == 0) {
        *out = process;
        return 0;
    }
    int has_ended = err && err->code == ERR_IO;
    trainer_process_end(process, has_ended ? TRAINER_REAP_MS * 20 : 0, how, sizeof how);
    if (has_ended)
        err_set(err, ERR_UNAVAILABLE, "the trainer ended before it was ready: %s", how);
    return -1;
}

int trainer_process_start(const struct settings *settings, const char *device,
                          struct trainer_process **out, struct err *err)
{
    const struct trainer_team whole = {0};
    return trainer_process_start_team(settings, device, &whole, out, err);
}

/* --- talking ------------------------------------------------------------------- */

const struct trainer_device *trainer_process_devices(const struct trainer_process *process, int *n)
{
    *n = process->n_devices;
    return process->devices;
}

const char *trainer_process_build(const struct trainer_process *process)
{
    return process->build;
}

int trainer_process_pid(const struct trainer_process *process)
{
    return (int)process->pid;
}

int trainer_process_send(struct trainer_process *process, const struct message *message,
                         struct err *err)
{
    return message_write(process->fd, message, err);
}

int trainer_process_receive(struct trainer_process *process, int timeout_ms, int wake_fd,
                            struct message *out, struct err *err)
{
    struct pollfd fds[] = {{.fd = process->fd, .events = POLLIN},
                           {.fd = wake_fd, .events = POLLIN}}; /* poll skips negative ones */
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        int got = message_read(process->reader, 0, out, err);
        if (got != 0)
            return got;
        int64_t left = timeout_ms < 0 ? -1 : deadline - clock_monotonic_ms();
        if (timeout_ms >= 0 && left <= 0)
            return 0;
        int ready = poll(fds, 2, (int)left);
        if (ready == 0 || (ready > 0 && fds[1].revents))
            return 0;
        if (ready < 0 && errno != EINTR)
            return err_set_errno(err, ERR_IO, "cannot wait for the trainer");
    }
}

/* --- ending -------------------------------------------------------------------- */

static void trainer_describe(int status, char *how, size_t n)
{
    if (WIFSIGNALED(status))
        snprintf(how, n, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, n, "exited with status %d", WEXITSTATUS(status));
}

/* Drop messages of a trainer that shall end: one that blocks in a write to a full socket never
 * reads `exit`. */
static void trainer_drain(int fd)
{
    char block[1 << 14];
    int blocks = 256;
    while (blocks-- > 0 && recv(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

/* 1 if the child has ended within limit_ms (how describes it), else 0. */
static int trainer_reap(struct trainer_process *process, int limit_ms, char *how, size_t n)
{
    int64_t deadline = clock_monotonic_ms() + limit_ms;
    for (;;) {
        int status;
        pid_t pid = waitpid(process->pid, &status, WNOHANG);
        if (pid == process->pid) {
            trainer_describe(status, how, n);
            return 1;
        }
        if (pid < 0 && errno != EINTR) {
            snprintf(how, n, "lost: %s", strerror(errno));
            return 1;
        }
        if (clock_monotonic_ms() >= deadline)
            return 0;
        trainer_drain(process->fd);
        poll(NULL, 0, TRAINER_REAP_MS);
    }
}

void trainer_process_end(struct trainer_process *process, int grace_ms, char *how, size_t n)
{
    if (!process)
        return;
    if (grace_ms > 0) {
        struct timeval limit = {.tv_sec = grace_ms / 1000, .tv_usec = grace_ms % 1000 * 1000};
        struct err ignored = ERR_INIT; /* a trainer that cannot be asked is killed */
        setsockopt(process->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        message_write(process->fd, &(struct message){.type = MESSAGE_EXIT}, &ignored);
    }
    if (!trainer_reap(process, grace_ms, how, n)) {
        kill(process->pid, SIGKILL);
        if (!trainer_reap(process, TRAINER_KILL_SECONDS * 1000, how, n))
            snprintf(how, n, "still there %d seconds after SIGKILL", TRAINER_KILL_SECONDS);
    }
    message_reader_free(process->reader);
    close(process->fd);
    free(process);
}
