/* stream: the HTTP thread's half of the event hub: see stream.h and hub.h. */
#include "server/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/hub.h"

time_t hub_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void hub_wake(struct hub *hub)
{
    uint64_t one = 1;
    ssize_t ignored = write(hub->wake, &one, sizeof one); /* full means: is awake */
    (void)ignored;
}

void hub_notify(void *self, int64_t last_event)
{
    (void)last_event;
    hub_wake(self);
}

int hub_streams(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    int n = hub->n_streams;
    pthread_mutex_unlock(&hub->mutex);
    return n;
}

/* ---- positions ---- */

int stream_position_parse(const char *text, const char *name, struct stream_position *out,
                          struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long id = strtoll(text, &end, 10), epoch = 0;
    int bad = end == text || id < 0 || errno || *text == ' ' || *text == '+';
    if (!bad && *end == '.') {
        const char *digits = end + 1;
        epoch = strtoll(digits, &end, 10);
        bad = end == digits || epoch < 0 || errno;
    }
    if (bad || *end)
        return err_field(err, name, "\"%.40s\" is not the id of an event", text);
    out->id = epoch ? id + 1 : id;
    out->epoch = epoch;
    return 0;
}

/* ---- HTTP thread ---- */

void stream_release(struct stream *stream)
{
    free(stream->buffer);
    free(stream->jobs);
    free(stream);
}

/* The response was destroyed: the client left, or the stream has ended. */
static void stream_end(void *self)
{
    struct stream *stream = self;
    struct hub *hub = stream->hub;
    pthread_mutex_lock(&hub->mutex);
    for (struct stream **at = &hub->streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            hub->n_streams--;
            break;
        }
    stream->freed = 1;
    int filling = stream->filling;
    pthread_mutex_unlock(&hub->mutex);
    if (!filling)
        stream_release(stream);
}

/* libmicrohttpd wants bytes: what is there, or the connection sleeps. */
static ssize_t stream_read(void *self, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct stream *stream = self;
    struct hub *hub = stream->hub;
    ssize_t result = 0;
    pthread_mutex_lock(&hub->mutex);
    size_t left = stream->n - stream->taken;
    stream->suspended = 0;
    if (stream->gone) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left) {
        size_t n = left < max ? left : max;
        memcpy(out, stream->buffer + stream->taken, n);
        stream->taken += n;
        result = (ssize_t)n;
    } else if (hub->ending || stream->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->suspended = 1;
        MHD_suspend_connection(stream->connection);
        hub_wake(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    return result;
}

static int stream_client_left(const struct stream *stream)
{
    char byte;
    ssize_t n = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void stream_resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = 0;
    MHD_resume_connection(stream->connection);
}

int hub_reap(struct hub *hub)
{
    int alive = 0;
    for (struct stream *stream = hub->streams; stream; stream = stream->next) {
        if (!stream->gone && stream->suspended && stream_client_left(stream)) {
            stream->gone = 1;
            stream_resume(stream);
        }
        alive += !stream->gone;
    }
    return alive;
}

static struct stream *stream_new(struct hub *hub, struct request *request,
                                 const struct stream_position *position, const char *jobs)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    if (jobs && !(stream->jobs = strdup(jobs))) {
        free(stream);
        return NULL;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    stream->hub = hub;
    stream->connection = request->connection;
    stream->fd = info ? info->connect_fd : -1;
    stream->credential = request->credential;
    stream->checked_at = hub_clock();
    stream->at_present = position == NULL;
    if (position)
        stream->position = *position;
    return stream;
}

/* Count a new stream in, or refuse. */
static int hub_admit(struct hub *hub, struct stream *stream, struct err *err)
{
    int result = 0;
    pthread_mutex_lock(&hub->mutex);
    if (hub->ending)
        result = err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    else if (hub->n_streams >= hub->max_streams && hub_reap(hub) >= hub->max_streams)
        result =
            err_set(err, ERR_UNAVAILABLE, "%d event streams are open, the limit", hub->max_streams);
    else {
        stream->next = hub->streams;
        hub->streams = stream;
        hub->n_streams++;
    }
    pthread_mutex_unlock(&hub->mutex);
    return result;
}

int hub_open_stream(struct hub *hub, struct request *request,
                    const struct stream_position *position, const char *jobs, struct err *err)
{
    struct stream *stream = stream_new(hub, request, position, jobs);
    if (!stream)
        return err_set(err, ERR_NO_MEMORY, "no memory for a stream");
    if (hub_admit(hub, stream, err)) {
        stream_release(stream);
        return -1;
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, 32 << 10, stream_read, stream, stream_end);
    if (!response) {
        stream_end(stream);
        return err_set(err, ERR_NO_MEMORY, "no memory for a stream");
    }
    request_reply_response(request, 200, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    request_header(request, "X-Accel-Buffering", "no");
    hub_wake(hub);
    return 0;
}

int hub_wait(struct hub *hub, struct request *request, const char *job, int state, int seconds,
             request_handler *next, struct err *err)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return err_set(err, ERR_NO_MEMORY, "no memory to wait");
    waiter->request = request;
    waiter->state = state;
    waiter->until = hub_clock() + seconds;
    snprintf(waiter->job, sizeof waiter->job, "%s", job);
    pthread_mutex_lock(&hub->mutex);
    int refused = hub->ending || hub->n_waiters >= hub->max_waiters;
    if (!refused) {
        request_park(request, next);
        waiter->next = hub->waiters;
        hub->waiters = waiter;
        hub->n_waiters++;
    }
    pthread_mutex_unlock(&hub->mutex);
    if (refused) {
        free(waiter);
        return err_set(err, ERR_UNAVAILABLE, "%d requests are waiting already", hub->max_waiters);
    }
    hub_wake(hub); /* the state may have changed since it was read */
    return 0;
}
