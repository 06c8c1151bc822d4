/* http: see http.h. Everything runs on the HTTP thread but the last part, "start and stop",
 * which runs on the main thread. Answers and hand-overs to other threads are in request.c.
 *
 * Life of a request, in order: http_begin (the target was read), http_head (admission),
 * http_body (once per piece of the body), http_run (handler; called again after every resume;
 * at last it queues the answer), http_end (the connection is done with it, answered or not).
 *
 * Body limit: http_body_limit. http_admit compares it with Content-Length, http_body with the
 * bytes that arrive, because a chunked body announces no length.
 *
 * Upload: http_open_upload creates corpora/.upload-<request id> in the data folder, http_store
 * writes each piece to it, and the handler (api/corpora.c) takes the finished file over.
 * http_drop_upload removes what no handler took. On a full disk write(2) fails, the request is
 * refused (ERR_IO), and the partial file goes at once. serve.c removes what a killed server
 * left.
 *
 * Refused bodies are drained: close(2) of a socket with unread data sends a reset, and the
 * client would lose the answer that tells why it was refused. So a refused request reads and
 * drops its body up to HTTP_DRAIN_MAX and is answered after it. */
#include "server/http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/hash.h"
#include "config/log.h"
#include "server/data.h"
#include "server/http/auth.h"
#include "server/http/connections.h"
#include "server/http/guard.h"
#include "server/http/latency.h"
#include "server/http/listener.h"
#include "server/http/media.h"
#include "server/http/peer.h"
#include "server/http/pool.h"
#include "server/http/request.h"
#include "server/http/route.h"
#include "server/http/static.h"
#include "server/http/tls.h"

enum { HTTP_SAID_MAX = 200 }; /* bytes of a message of libmicrohttpd in an error */

struct http {
    struct server *server;
    struct MHD_Daemon *daemon;
    struct connections *connections;
    struct listener *listener;
    struct tls tls;
    char said[HTTP_SAID_MAX]; /* last by libmicrohttpd while it started */
    atomic_int is_started;
    atomic_int running; /* requests between head and end */
};

static void *http_begin(void *self, const char *uri, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof *request);
    connections_phase(connection, CONNECTION_HEAD);
    if (!request)
        return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    request->server = self;
    request->connection = connection;
    request->fd = info ? info->connect_fd : -1;
    request->uid = peer_uid(request->fd);
    request->begun = clock_monotonic_seconds();
    request->upload_fd = -1;
    request->target = strdup(uri);
    hash_random_hex(REQUEST_ID_BYTES, request->id);
    if (!request->target) {
        free(request);
        return NULL;
    }
    return request;
}

/* Remove the file of an upload, whole or partial. A handler that took the file over has
 * renamed it, and then there is nothing to unlink. */
static void http_drop_upload(struct request *request)
{
    if (request->upload_fd >= 0)
        close(request->upload_fd);
    if (request->upload_path)
        unlink(request->upload_path);
    free(request->upload_path);
    request->upload_fd = -1;
    request->upload_path = NULL;
}

static void http_free(struct request *request)
{
    if (request->response)
        MHD_destroy_response(request->response);
    http_drop_upload(request);
    if (request->free_state)
        request->free_state(request->state);
    request_free_lists(request);
    free(request->body);
    free(request->path);
    free(request->target);
    free(request);
}

static void http_end(void *self, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct server *server = self;
    connections_phase(connection, CONNECTION_IDLE);
    struct request *request = *state;
    *state = NULL;
    if (!request)
        return;
    /* A request that was resumed and never ran again (its client left) is still counted. */
    request_resumed(request);
    if (request->pool_client)
        pool_leave(server->pool, request);
    if (request->seen_head)
        atomic_fetch_sub(&server->http->running, 1);
    http_free(request);
}

/* ---- admission ---- */

/* Body limit in bytes: max_upload_bytes for a route that takes a file, else max_body_bytes
 * (config/settings.c). */
static uint64_t http_body_limit(const struct request *request)
{
    const struct settings *settings = &request->server->settings;
    int upload = request->route && (request->route->flags & ROUTE_BODY_FILE);
    return (uint64_t)(upload ? settings->max_upload_bytes : settings->max_body_bytes);
}

static int http_too_large(struct request *request)
{
    return err_set(&request->err, ERR_TOO_LARGE, "the body is larger than %llu bytes",
                   (unsigned long long)http_body_limit(request));
}

static int http_open_upload(struct request *request)
{
    char path[DATA_PATH_MAX];
    if (data_path(&request->server->settings, path, sizeof path, &request->err,
                  "corpora/.upload-%s", request->id))
        return -1;
    if (!(request->upload_path = strdup(path)))
        return err_set(&request->err, ERR_NO_MEMORY, "no memory for an upload");
    request->upload_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (request->upload_fd < 0)
        return err_set_errno(&request->err, ERR_IO, "cannot make %s", path);
    return 0;
}

static int http_route(struct request *request)
{
    int known = 0;
    request->route = route_find(request->server->routes, request->method, request->segments,
                                request->n_segments, request->params, &known);
    if (request->route)
        return 0;
    if (known == ROUTE_KNOWN || (known == ROUTE_KNOWN_FILE && static_exists(request)))
        return err_set(&request->err, ERR_METHOD, "%.20s is not possible on %.200s",
                       request->method, request->target);
    return err_set(&request->err, ERR_NOT_FOUND, "there is nothing at %.200s", request->target);
}

/* Admission: every check that needs the head only. The order matters: Host before Origin,
 * which is compared with it; the route before auth, which reads its flags; the upload's file
 * last, so that a refused request creates none. */
static int http_admit(struct request *request, uint64_t announced)
{
    struct err *err = &request->err;
    if (guard_check_size(request, err) || guard_check_host(request, err) ||
        request_split_path(request, err) || http_route(request) ||
        guard_check_origin(request, err) || auth_check(request, err))
        return -1;
    unsigned flags = request->route->flags;
    if (request_check_query(request, err) || media_check(request, err))
        return -1;
    if (announced > http_body_limit(request))
        return http_too_large(request);
    if (flags & ROUTE_BODY_FILE)
        return http_open_upload(request);
    return 0;
}

static void http_refuse(struct request *request)
{
    char allow[64];
    http_drop_upload(request); /* before the rest is drained: the disk may be full */
    request_fail(request, &request->err);
    if (request->err.code == ERR_METHOD) {
        route_allow(request->server->routes, request->segments, request->n_segments, allow,
                    sizeof allow);
        request_header(request, MHD_HTTP_HEADER_ALLOW, allow);
    }
    request->refused = 1;
}

static enum MHD_Result http_answer(struct request *request);

static enum MHD_Result http_head(struct request *request)
{
    uint64_t announced = 0;
    if (connections_phase(request->connection, CONNECTION_BODY))
        return MHD_NO;
    atomic_fetch_add(&request->server->http->running, 1);
    err_clear(&request->err);
    if (guard_check_framing(request, &announced, &request->err)) {
        /* The end of such a body is unknown, so it cannot be drained: answer and close. */
        http_refuse(request);
        request_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
        return http_answer(request);
    }
    if (!http_admit(request, announced))
        return MHD_YES;
    http_refuse(request);
    /* Answer before the body if it is too large to drain, or if the client waits for
     * "100 Continue" and has sent none of it. */
    if (announced > HTTP_DRAIN_MAX || request_head(request, MHD_HTTP_HEADER_EXPECT))
        return http_answer(request);
    return MHD_YES;
}

/* ---- body ---- */

/* Append to the body in memory; the buffer doubles and keeps room for a final zero. */
static int http_keep(struct request *request, const char *data, size_t n)
{
    if (request->n_body + n + 1 > request->body_room) {
        size_t room = 2 * (request->n_body + n) + 4096;
        char *grown = realloc(request->body, room);
        if (!grown)
            return err_set(&request->err, ERR_NO_MEMORY, "no memory for a body of %zu bytes", room);
        request->body = grown;
        request->body_room = room;
    }
    memcpy(request->body + request->n_body, data, n);
    request->n_body += n;
    request->body[request->n_body] = '\0';
    return 0;
}

/* Append to the upload's file. Writing to the page cache on the HTTP thread is brief; hashing
 * and fsync are left to the pool thread that takes the file over. */
static int http_store(struct request *request, const char *data, size_t n)
{
    while (n) {
        ssize_t done = write(request->upload_fd, data, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set_errno(&request->err, ERR_IO, "cannot write %s", request->upload_path);
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

/* One piece of the body: dropped, written to the upload's file, or kept in memory. A piece is
 * always consumed whole (*n = 0). A failure refuses the request; the rest is drained. */
static enum MHD_Result http_body(struct request *request, const char *data, size_t *n)
{
    size_t bytes = *n;
    *n = 0;
    request->received += bytes;
    connections_received(request->connection, bytes);
    if (request->refused)
        return request->received > HTTP_DRAIN_MAX ? MHD_NO : MHD_YES;
    int failed = 0;
    if (request->received > http_body_limit(request))
        failed = http_too_large(request);
    else if (request->upload_fd >= 0)
        failed = http_store(request, data, bytes);
    else if (request->route->flags & ROUTE_BODY_JSON)
        failed = http_keep(request, data, bytes);
    if (failed)
        http_refuse(request);
    return MHD_YES;
}

/* ---- handler and answer ---- */

static void http_headers(struct request *request)
{
    static const char *const headers[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
        {"X-Frame-Options", "DENY"},
    };
    request_header(request, "X-Request-Id", request->id);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        request_header(request, headers[i][0], headers[i][1]);
    if (!MHD_get_response_header(request->response, MHD_HTTP_HEADER_CACHE_CONTROL))
        request_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static enum MHD_Result http_answer(struct request *request)
{
    struct server *server = request->server;
    /* No memory even for the problem, or the client has left: close the connection. */
    if (connections_phase(request->connection, CONNECTION_ANSWER) || !request->response)
        return MHD_NO;
    http_headers(request);
    if (request->status == 500 || request->status == 507)
        log_with(LOG_ERROR, LOG_FIELDS({"request", request->id}, {"user", request->user.name}),
                 "%s %.200s: %u, %s (request %s)", request->method, request->target,
                 request->status, request->err.message, request->id);
    unsigned class = request->status / 100;
    if (class < SERVER_STATUS_CLASSES)
        atomic_fetch_add(&server->answers[class], 1);
    latency_observe(request);
    enum MHD_Result queued =
        MHD_queue_response(request->connection, request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return queued;
}

/* The whole request has arrived: run its handler, here or on the pool. */
static enum request_result http_first(struct request *request)
{
    request->ran = 1;
    /* No request is parked after the server began to stop. One that read 0 here just before is
     * no gap: it counts in `running`, for which http_stop waits too. */
    if (atomic_load(&request->server->stopping)) {
        err_set(&request->err, ERR_UNAVAILABLE, "the server is stopping");
        return request_fail(request, &request->err);
    }
    if ((request->route->flags & ROUTE_BODY_JSON) && !request->n_body) {
        err_set(&request->err, ERR_MALFORMED, "the body is empty; a JSON object is expected");
        return request_fail(request, &request->err);
    }
    if (!(request->route->flags & ROUTE_SLOW)) {
        request->reader = request->server->reader;
        return request->route->handler(request);
    }
    struct err err = ERR_INIT;
    request->work = request->route->handler;
    request_park(request, NULL);
    if (pool_push(request->server->pool, request, &err)) {
        request_fail_later(request, &err, 2);
        request_finish(request);
    }
    return REQUEST_LATER;
}

/* Called when the body is complete, and again after every resume: the first handler, the
 * `next` one of a request that was parked, or only the answer that was set meanwhile. */
static enum MHD_Result http_run(struct request *request)
{
    enum request_result result = REQUEST_DONE;
    request_resumed(request);
    if (connections_phase(request->connection, CONNECTION_ANSWER))
        return MHD_NO;
    if (!request->response && !request->ran)
        result = http_first(request);
    else if (!request->response && request->next) {
        request_handler *next = request->next;
        request->next = NULL;
        request->reader = request->server->reader;
        result = next(request);
    }
    return result == REQUEST_LATER ? MHD_YES : http_answer(request);
}

/* libmicrohttpd's callback: once for the head, once per piece of the body, then without data
 * until an answer is queued. `method` lives as long as the connection's request. */
static enum MHD_Result http_access(void *self, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload_data,
                                   size_t *upload_bytes, void **state)
{
    (void)self, (void)connection, (void)url, (void)version;
    struct request *request = *state;
    if (!request)
        return MHD_NO;
    if (!request->seen_head) {
        request->seen_head = 1;
        request->method = method;
        return http_head(request);
    }
    if (*upload_bytes)
        return http_body(request, upload_data, upload_bytes);
    return http_run(request);
}

/* ---- start and stop ---- */

static void http_log(void *self, const char *format, va_list args)
{
    struct http *http = self;
    char line[LOG_LINE_MAX / 2];
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_line(LOG_DEBUG, "http: %s", line);
    if (!atomic_load(&http->is_started))
        snprintf(http->said, sizeof http->said, "%.*s", HTTP_SAID_MAX - 1, line);
}

static void http_url(int fd, struct server *server)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char port[16] = "0";
    if (!getsockname(fd, (struct sockaddr *)&address, &length))
        getnameinfo((struct sockaddr *)&address, length, NULL, 0, port, sizeof port,
                    NI_NUMERICSERV);
    int six = strchr(server->listen_host, ':') != NULL;
    snprintf(server->url, sizeof server->url, "%s://%s%s%s:%s", server->tls ? "https" : "http",
             six ? "[" : "", server->listen_host, six ? "]" : "", port);
}

/* Strictness 0 passes on what it would refuse in HTML: a request without a
 * Host, which guard_check_host refuses. */
static int http_daemon(struct http *http, struct err *err)
{
    struct server *server = http->server;
    const unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME |
                           MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET |
                           (server->tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem with_tls[] = {
        {server->tls ? MHD_OPTION_HTTPS_MEM_KEY : MHD_OPTION_END, 0, http->tls.key},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, http->tls.certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_access, server, MHD_OPTION_EXTERNAL_LOGGER, http_log, http,
        MHD_OPTION_ARRAY, with_tls, MHD_OPTION_URI_LOG_CALLBACK, http_begin, server,
        MHD_OPTION_NOTIFY_COMPLETED, http_end, server, MHD_OPTION_NOTIFY_CONNECTION,
        connections_notify, http->connections, MHD_OPTION_CONNECTION_LIMIT,
        connections_places(http->connections), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_MEMORY_PER_CONNECTION, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_END);
    if (!http->daemon)
        return err_set(err, ERR_IO, "cannot start the HTTP server on %s%s%.100s: %s",
                       server->settings.listen, server->tls ? " with tls_cert " : "",
                       server->settings.tls_cert, http->said);
    atomic_store(&http->is_started, 1);
    return 0;
}

static void http_free_daemon(struct http *http)
{
    listener_close(http->listener);
    connections_stop(http->connections);
    connections_free(http->connections);
    tls_free(&http->tls);
    free(http);
}

int http_start(struct server *server, struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return err_set(err, ERR_NO_MEMORY, "no memory for the HTTP server");
    http->server = server;
    server->http = http; /* before the daemon starts: its thread reads it at the first request */
    if (tls_read(&server->settings, &http->tls, err) ||
        connections_start(&server->settings, &http->connections, err) ||
        listener_open(server->settings.listen, server->settings.socket, &http->listener, err) ||
        http_daemon(http, err)) {
        server->http = NULL;
        http_free_daemon(http);
        return -1;
    }
    http_url(listener_fd(http->listener), server);
    /* Without its thread http_stop ends the daemon. */
    return listener_start(http->listener, http->daemon, http->connections, err);
}

void http_stop(struct http *http)
{
    if (!http)
        return;
    listener_close(http->listener);
    http->listener = NULL;
    /* MHD_stop_daemon aborts the process if a connection is suspended, so those are waited for
     * without a limit: pool, database writer and hub finish every request that they hold.
     * Clients that only read slowly get HTTP_STOP_SECONDS. */
    for (int ticks = 0; atomic_load(&http->server->suspended) > 0 ||
                        (atomic_load(&http->running) > 0 && ticks < HTTP_STOP_SECONDS * 100);
         ticks++)
        usleep(10000);
    MHD_stop_daemon(http->daemon);
    http_free_daemon(http);
}
