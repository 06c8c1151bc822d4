/* connections: see connections.h. The thread looks at every connection each CONNECTIONS_LOOK_MS. */
#include "server/http/connections.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "config/clock.h"
#include "config/hash.h"
#include "config/log.h"
#include "server/http/address.h"
#include "server/http/peer.h"
#include "server/http/problem.h"
#include "server/http/request.h"

enum {
    CONNECTIONS_LOOK_MS = 250, /* a look takes 1 us for each connection that idles */
    CONNECTIONS_BUCKETS = 256,
    CONNECTIONS_RETRY_SECONDS = 5,
    CONNECTIONS_DRAIN_MAX = 64 << 10 /* bytes dropped before a socket is closed */
};

struct connection {
    struct connections *all;
    struct connection *next, **self; /* in its bucket */
    int fd;
    int is_counted; /* in the limit of its address */
    int is_ended;
    int64_t uid; /* of a client on the Unix socket (peer.h), which has no address */
    struct address host;
    enum connection_phase phase;
    int64_t since_ms;       /* of the phase */
    uint64_t bytes_before;  /* of the socket, received when the last request ended */
    uint64_t body_received; /* of the present body */
};

struct connections {
    const struct settings *settings;
    int64_t per_address;
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    int stopping, n;
    unsigned n_places, n_taken; /* taken: by connections, and by those that are handed over */
    struct connection *bucket[CONNECTIONS_BUCKETS]; /* by host */
    pthread_t thread;
};

/* ---- the end of a connection ---- */

static int connections_is_tls(const struct connections *all)
{
    return all->settings->tls_cert[0] != '\0';
}

/* Close of a socket with unread bytes sends a reset, which may overtake the answer. */
static void connection_drain(int fd)
{
    char bytes[4096];
    ssize_t n;
    for (size_t all = 0; all < CONNECTIONS_DRAIN_MAX; all += (size_t)n)
        if ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) <= 0)
            return;
}

/* A whole answer in one send: its client has had nothing on this socket that it could block. */
static void connection_answer(int fd, const struct err *err)
{
    char id[2 * REQUEST_ID_BYTES + 1], retry[40] = "", *head = NULL;
    size_t n = 0;
    hash_random_hex(REQUEST_ID_BYTES, id);
    char *body = problem_print(err, id, &n);
    if (err->code != ERR_SLOW)
        snprintf(retry, sizeof retry, "Retry-After: %d\r\n", CONNECTIONS_RETRY_SECONDS);
    if (body &&
        asprintf(&head,
                 "HTTP/1.1 %d %s\r\nContent-Type: " PROBLEM_TYPE
                 "\r\nContent-Length: %zu\r\nX-Request-Id: %s\r\n%sConnection: close\r\n\r\n%s",
                 err_http_status(err->code), err_title(err->code), n, id, retry, body) >= 0) {
        const ssize_t ignored = send(fd, head, strlen(head), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)ignored;
        free(head);
    }
    free(body);
}

/* The caller holds the mutex. libmicrohttpd finds the socket at its end, and closes it. */
static void connection_end(struct connection *connection, const struct err *err)
{
    char host[INET6_ADDRSTRLEN];
    address_print(&connection->host, host);
    log_line(LOG_DEBUG, "http: connection of %s ended: %s", host, err->message);
    connection->is_ended = 1;
    if (!connections_is_tls(connection->all))
        connection_answer(connection->fd, err);
    connection_drain(connection->fd);
    shutdown(connection->fd, SHUT_RDWR);
}

/* ---- limits; the caller holds the mutex ---- */

static struct connection **connections_bucket(struct connections *all, const struct address *host)
{
    unsigned hash = 0;
    for (size_t i = 0; i < sizeof host->bytes; i++)
        hash = hash * 31 + host->bytes[i];
    return &all->bucket[hash % CONNECTIONS_BUCKETS];
}

/* Connections that count as this one's: of its address, or of its account. */
static int connections_of_client(struct connections *all, const struct connection *connection)
{
    int n = 0;
    for (const struct connection *at = *connections_bucket(all, &connection->host); at;
         at = at->next)
        n += at->is_counted && at->uid == connection->uid &&
             memcmp(&at->host, &connection->host, sizeof at->host) == 0;
    return n;
}

static int connections_check(struct connections *all, struct connection *connection,
                             struct err *err)
{
    if (all->n > all->settings->max_connections)
        return err_set(err, ERR_UNAVAILABLE, "%lld connections are open, the limit",
                       (long long)all->settings->max_connections);
    if (!connection->is_counted || connections_of_client(all, connection) <= all->per_address)
        return 0;
    return err_set(err, ERR_TOO_MANY, "%lld connections of your %s are open, the limit",
                   (long long)all->per_address,
                   connection->uid == PEER_NONE ? "address" : "account");
}

/* ---- places ---- */

unsigned connections_places(const struct connections *all)
{
    return all->n_places + 1; /* it forgets a connection a moment after it has told its end */
}

int connections_reserve(struct connections *all)
{
    pthread_mutex_lock(&all->mutex);
    const int is_free = all->n_taken < all->n_places;
    all->n_taken += (unsigned)is_free;
    pthread_mutex_unlock(&all->mutex);
    return is_free;
}

void connections_unreserve(struct connections *all)
{
    pthread_mutex_lock(&all->mutex);
    all->n_taken--;
    pthread_mutex_unlock(&all->mutex);
}

/* ---- libmicrohttpd's callbacks ---- */

static int connections_are_unlimited(const struct connections *all, const struct address *address)
{
    return address_list_has(all->settings->unlimited_addresses, address) ||
           address_list_has(all->settings->trusted_proxies, address);
}

static struct connection *connection_begin(struct connections *all, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd,
                                                                 MHD_CONNECTION_INFO_CONNECTION_FD),
                                   *client = MHD_get_connection_info(
                                       mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection || !fd) {
        free(connection);
        return NULL;
    }
    const struct address address = address_of(client ? client->client_addr : NULL);
    connection->all = all;
    connection->fd = fd->connect_fd;
    connection->host = address_host(address);
    connection->uid = peer_uid(connection->fd);
    connection->is_counted =
        connection->uid != PEER_NONE || !connections_are_unlimited(all, &address);
    connection->since_ms = clock_monotonic_ms();
    return connection;
}

static void connection_add(struct connections *all, struct connection *connection)
{
    struct connection **bucket = connections_bucket(all, &connection->host);
    connection->next = *bucket;
    connection->self = bucket;
    if (*bucket)
        (*bucket)->self = &connection->next;
    *bucket = connection;
    all->n++;
}

static void connection_remove(struct connection *connection)
{
    *connection->self = connection->next;
    if (connection->next)
        connection->next->self = connection->self;
    connection->all->n--;
}

void connections_notify(void *self, struct MHD_Connection *mhd, void **context,
                        enum MHD_ConnectionNotificationCode what)
{
    struct connections *all = self;
    struct connection *connection = *context;
    struct err err = ERR_INIT;
    const int is_new = what == MHD_CONNECTION_NOTIFY_STARTED;
    if (is_new)
        *context = connection = connection_begin(all, mhd);
    if (!is_new)
        connections_unreserve(all); /* libmicrohttpd counts it no more when it looks next */
    if (!connection)
        return; /* without memory for it a connection has no limits */
    pthread_mutex_lock(&all->mutex);
    if (!is_new) {
        connection_remove(connection);
    } else {
        connection_add(all, connection);
        if (connections_check(all, connection, &err))
            connection_end(connection, &err);
    }
    pthread_mutex_unlock(&all->mutex);
    if (!is_new)
        free(connection);
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Bytes that have come on a socket since it was opened, TLS and all. */
static uint64_t connection_bytes(int fd)
{
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t n = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) ? 0 : info.tcpi_bytes_received;
}

static void connection_enter(struct connection *connection, enum connection_phase phase)
{
    connection->phase = phase;
    connection->since_ms = clock_monotonic_ms();
    connection->body_received = 0;
    if (phase == CONNECTION_IDLE)
        connection->bytes_before = connection_bytes(connection->fd);
}

int connections_phase(struct MHD_Connection *mhd, enum connection_phase phase)
{
    struct connection *connection = connection_of(mhd);
    if (!connection)
        return 0;
    pthread_mutex_lock(&connection->all->mutex);
    if (connection->phase != phase)
        connection_enter(connection, phase);
    const int ended = connection->is_ended;
    pthread_mutex_unlock(&connection->all->mutex);
    return ended ? -1 : 0;
}

void connections_received(struct MHD_Connection *mhd, uint64_t n)
{
    struct connection *connection = connection_of(mhd);
    if (!connection)
        return;
    pthread_mutex_lock(&connection->all->mutex);
    connection->body_received += n;
    pthread_mutex_unlock(&connection->all->mutex);
}

/* ---- the thread ---- */

static int connection_check(struct connection *connection, int64_t now, struct err *err)
{
    const long long head_seconds = connection->all->settings->head_seconds;
    const int64_t late = now - connection->since_ms - 1000 * head_seconds;
    if (connection->phase == CONNECTION_IDLE &&
        connection_bytes(connection->fd) > connection->bytes_before)
        connection_enter(connection, CONNECTION_HEAD);
    else if (connection->phase == CONNECTION_HEAD && late > 0)
        return err_set(err, ERR_SLOW, "the head of a request must come within %lld s",
                       head_seconds);
    else if (connection->phase == CONNECTION_BODY &&
             late > (int64_t)(1000 * connection->body_received / CONNECTIONS_BODY_RATE))
        return err_set(err, ERR_SLOW,
                       "%llu bytes of the body came in %lld s; at least %d a second must come",
                       (unsigned long long)connection->body_received,
                       (long long)(now - connection->since_ms) / 1000, CONNECTIONS_BODY_RATE);
    return 0;
}

/* The mutex is free between two buckets, so that the HTTP thread waits for one at most. */
static void connections_look(struct connections *all)
{
    const int64_t now = clock_monotonic_ms();
    struct err err = ERR_INIT;
    for (int i = 0; i < CONNECTIONS_BUCKETS; i++) {
        pthread_mutex_lock(&all->mutex);
        for (struct connection *at = all->bucket[i]; at; at = at->next) {
            if (!at->is_ended && connection_check(at, now, &err))
                connection_end(at, &err);
        }
        pthread_mutex_unlock(&all->mutex);
    }
}

static void *connections_run(void *self)
{
    struct connections *all = self;
    pthread_mutex_lock(&all->mutex);
    while (!all->stopping) {
        struct timespec until;
        pthread_mutex_unlock(&all->mutex);
        connections_look(all);
        pthread_mutex_lock(&all->mutex);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += CONNECTIONS_LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!all->stopping)
            pthread_cond_timedwait(&all->stop, &all->mutex, &until);
    }
    pthread_mutex_unlock(&all->mutex);
    return NULL;
}

/* ---- start and stop ---- */

int connections_start(const struct settings *settings, struct connections **out, struct err *err)
{
    struct connections *all = calloc(1, sizeof *all);
    pthread_condattr_t monotonic;
    if (!all)
        return err_set(err, ERR_NO_MEMORY, "no memory for connections");
    all->settings = settings;
    all->per_address = settings->address_connections ? settings->address_connections
                                                     : (settings->max_connections + 3) / 4;
    all->n_places = (unsigned)(settings->max_connections + CONNECTIONS_SPARE);
    pthread_mutex_init(&all->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&all->thread, NULL, connections_run, all)) {
        err_set_errno(err, ERR_IO, "cannot start the thread of connections");
        connections_free(all);
        return -1;
    }
    *out = all;
    return 0;
}

void connections_stop(struct connections *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->mutex);
    all->stopping = 1;
    pthread_cond_signal(&all->stop);
    pthread_mutex_unlock(&all->mutex);
    pthread_join(all->thread, NULL);
}

void connections_free(struct connections *all)
{
    if (!all)
        return;
    pthread_cond_destroy(&all->stop);
    pthread_mutex_destroy(&all->mutex);
    free(all);
}
