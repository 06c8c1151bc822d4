/* listener: see listener.h. */
#include "server/http/listener.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/http/guard.h"

enum {
    LISTENER_BACKLOG = 511,
    LISTENER_PAUSE_MS = 100, /* after an accept that failed: descriptors may come free */
    LISTENER_FULL_MS = 5     /* until a place may be free */
};

/* Where connections come from, and what ends the thread. */
enum { LISTENER_TCP, LISTENER_UNIX, LISTENER_STOP, LISTENER_FDS };

struct listener {
    struct pollfd fds[LISTENER_FDS];                      /* -1: none */
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of the Unix socket, once it is there */
    struct MHD_Daemon *daemon;
    struct connections *connections;
    pthread_t thread;
    int has_thread;
};

/* ---- the thread ---- */

/* A pause that the stop ends. */
static void listener_pause(struct listener *listener, int milliseconds)
{
    struct pollfd stop = listener->fds[LISTENER_STOP];
    poll(&stop, 1, milliseconds);
}

/* libmicrohttpd owns the connection, also when it refuses it. */
static void listener_accept(struct listener *listener, int from)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    if (!connections_reserve(listener->connections)) {
        listener_pause(listener, LISTENER_FULL_MS);
        return;
    }
    const int fd = accept4(from, (struct sockaddr *)&address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int failed = fd < 0 ? errno : 0;
    if (fd >= 0 &&
        MHD_add_connection(listener->daemon, fd, (struct sockaddr *)&address, n) == MHD_YES)
        return;
    connections_unreserve(listener->connections);
    if (failed && failed != EAGAIN && failed != EINTR && failed != ECONNABORTED)
        listener_pause(listener, LISTENER_PAUSE_MS);
}

static void *listener_run(void *self)
{
    struct listener *listener = self;
    while (!listener->fds[LISTENER_STOP].revents) {
        poll(listener->fds, LISTENER_FDS, -1);
        for (int i = LISTENER_TCP; i <= LISTENER_UNIX; i++)
            if (listener->fds[i].revents)
                listener_accept(listener, listener->fds[i].fd);
    }
    return NULL;
}

/* ---- the address ---- */

static int listener_bind(struct listener *listener, const struct addrinfo *to, const char *address,
                         struct err *err)
{
    int one = 1, fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    listener->fds[LISTENER_TCP].fd = fd;
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot make a socket for %s", address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, to->ai_addr, to->ai_addrlen) || listen(fd, LISTENER_BACKLOG))
        return err_set_errno(err, ERR_IO, "cannot listen on %s", address);
    return 0;
}

static int listener_open_tcp(struct listener *listener, const char *address, struct err *err)
{
    char host[256], port[16];
    if (guard_split_address(address, host, sizeof host, port, sizeof port))
        return err_set(err, ERR_INVALID, "listen: \"%s\" is not address:port", address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code)
        return err_set(err, ERR_INVALID, "listen: \"%s\": %s", address, gai_strerror(code));
    const int failed = listener_bind(listener, found, address, err);
    freeaddrinfo(found);
    return failed;
}

/* ---- the Unix socket ---- */

/* Remove a socket on which nobody listens. */
static int listener_make_room(const struct sockaddr_un *address, struct err *err)
{
    const char *path = address->sun_path;
    struct stat found;
    if (lstat(path, &found))
        return 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int is_left = S_ISSOCK(found.st_mode) && fd >= 0 &&
                        connect(fd, (const struct sockaddr *)address, sizeof *address) &&
                        errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!is_left)
        return err_set(err, ERR_CONFLICT, "socket: %s is there already, and %s", path,
                       S_ISSOCK(found.st_mode) ? "somebody listens on it" : "is no socket");
    return unlink(path) ? err_set_errno(err, ERR_IO, "socket: cannot replace %s", path) : 0;
}

/* Until chmod the mode is the umask's, which lets others connect at most too late. */
static int listener_open_unix(struct listener *listener, const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_TOO_LARGE, "socket: %.120s has %zu bytes; %zu are possible", path,
                       strlen(path), sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    if (listener_make_room(&address, err))
        return -1;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    listener->fds[LISTENER_UNIX].fd = fd;
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address))
        return err_set_errno(err, ERR_IO, "socket: cannot listen on %s", path);
    strcpy(listener->path, path);
    if (chmod(path, 0666) || listen(fd, LISTENER_BACKLOG))
        return err_set_errno(err, ERR_IO, "socket: cannot listen on %s", path);
    return 0;
}

/* ---- open, start, close ---- */

int listener_open(const char *address, const char *path, struct listener **out, struct err *err)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return err_set(err, ERR_NO_MEMORY, "no memory to listen");
    for (int i = 0; i < LISTENER_FDS; i++)
        listener->fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    int failed = listener_open_tcp(listener, address, err);
    if (!failed && path[0])
        failed = listener_open_unix(listener, path, err);
    if (!failed && (listener->fds[LISTENER_STOP].fd = eventfd(0, EFD_CLOEXEC)) < 0)
        failed = err_set_errno(err, ERR_IO, "no descriptor to listen");
    if (failed) {
        listener_close(listener);
        return -1;
    }
    *out = listener;
    return 0;
}

int listener_fd(const struct listener *listener)
{
    return listener->fds[LISTENER_TCP].fd;
}

int listener_start(struct listener *listener, struct MHD_Daemon *daemon,
                   struct connections *connections, struct err *err)
{
    listener->daemon = daemon;
    listener->connections = connections;
    if (pthread_create(&listener->thread, NULL, listener_run, listener))
        return err_set(err, ERR_IO, "cannot start the thread that accepts connections");
    listener->has_thread = 1;
    return 0;
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    if (listener->has_thread) {
        eventfd_write(listener->fds[LISTENER_STOP].fd, 1);
        pthread_join(listener->thread, NULL);
    }
    for (int i = 0; i < LISTENER_FDS; i++)
        if (listener->fds[i].fd >= 0)
            close(listener->fds[i].fd);
    if (listener->path[0])
        unlink(listener->path);
    free(listener);
}
