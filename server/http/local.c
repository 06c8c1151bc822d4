/* local: see local.h. */
#include "server/http/local.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/log.h"

enum {
    LOCAL_BACKLOG = 511,
    LOCAL_PAUSE_MS = 100 /* after an accept that failed: descriptors may come free */
};

struct local {
    struct sockaddr_un address;
    struct MHD_Daemon *daemon;
    int fd, stop; /* stop: an eventfd */
    pthread_t thread;
};

/* A pause that a stop ends. 1: stop. */
static int local_wait(const struct local *local, int fd, int milliseconds)
{
    struct pollfd watched[] = {{.fd = local->stop, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    poll(watched, 2, milliseconds);
    return watched[0].revents != 0;
}

/* libmicrohttpd owns the connection, also when it refuses it. */
static void local_accept(const struct local *local)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    const int fd =
        accept4(local->fd, (struct sockaddr *)&address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        MHD_add_connection(local->daemon, fd, (struct sockaddr *)&address, n);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        local_wait(local, -1, LOCAL_PAUSE_MS);
}

static void *local_run(void *self)
{
    const struct local *local = self;
    while (!local_wait(local, local->fd, -1))
        local_accept(local);
    return NULL;
}

/* Remove a socket on which nobody listens. */
static int local_make_room(const struct local *local, struct err *err)
{
    const char *path = local->address.sun_path;
    const struct sockaddr *address = (const struct sockaddr *)&local->address;
    struct stat found;
    if (lstat(path, &found))
        return 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int is_left = S_ISSOCK(found.st_mode) && fd >= 0 &&
                        connect(fd, address, sizeof local->address) && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!is_left)
        return err_set(err, ERR_CONFLICT, "socket: %s is there already, and %s", path,
                       S_ISSOCK(found.st_mode) ? "somebody listens on it" : "is no socket");
    return unlink(path) ? err_set_errno(err, ERR_IO, "socket: cannot replace %s", path) : 0;
}

/* Until chmod the mode is the umask's, which lets others connect at most too late. */
static int local_listen(struct local *local, struct err *err)
{
    const char *path = local->address.sun_path;
    const struct sockaddr *address = (const struct sockaddr *)&local->address;
    if (local_make_room(local, err))
        return -1;
    local->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (local->fd < 0 || bind(local->fd, address, sizeof local->address) || chmod(path, 0666) ||
        listen(local->fd, LOCAL_BACKLOG))
        return err_set_errno(err, ERR_IO, "socket: cannot listen on %s", path);
    return 0;
}

static void local_free(struct local *local)
{
    if (local->fd >= 0)
        close(local->fd);
    if (local->stop >= 0)
        close(local->stop);
    free(local);
}

int local_start(const char *path, struct MHD_Daemon *daemon, struct local **out, struct err *err)
{
    struct local *local = calloc(1, sizeof *local);
    if (!local)
        return err_set(err, ERR_NO_MEMORY, "no memory for the socket");
    local->daemon = daemon;
    local->address.sun_family = AF_UNIX;
    local->fd = -1;
    local->stop = eventfd(0, EFD_CLOEXEC);
    int failed = 0;
    if (strlen(path) >= sizeof local->address.sun_path)
        failed = err_set(err, ERR_TOO_LARGE, "socket: %.120s has %zu bytes; %zu are possible", path,
                         strlen(path), sizeof local->address.sun_path - 1);
    else if (local->stop < 0)
        failed = err_set_errno(err, ERR_IO, "socket: no descriptor");
    else
        strcpy(local->address.sun_path, path);
    if (!failed)
        failed = local_listen(local, err);
    if (!failed && pthread_create(&local->thread, NULL, local_run, local)) {
        unlink(path);
        failed = err_set(err, ERR_IO, "socket: cannot start its thread");
    }
    if (failed) {
        local_free(local);
        return -1;
    }
    *out = local;
    return 0;
}

void local_stop(struct local *local)
{
    if (!local)
        return;
    eventfd_write(local->stop, 1);
    pthread_join(local->thread, NULL);
    unlink(local->address.sun_path);
    local_free(local);
}
