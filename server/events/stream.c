/* stream: see stream.h. stream_wake runs on any thread; stream_reap, stream_resume and
 * stream_free run on the hub thread too; all the rest runs on the HTTP thread. */
#include "server/events/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/clock.h"
#include "server/http/client.h"

void stream_wake(struct stream_set *set)
{
    uint64_t one = 1;
    ssize_t ignored = write(set->wake, &one, sizeof one); /* fails only if full: readable too */
    (void)ignored;
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

/* ---- life of a stream ---- */

void stream_free(struct stream *stream)
{
    free(stream->buffer);
    free(stream->jobs);
    free(stream);
}

/* libmicrohttpd's callback when the response is destroyed: the client left, or the stream has
 * ended. */
static void stream_end(void *self)
{
    struct stream *stream = self;
    struct stream_set *set = stream->set;
    pthread_mutex_lock(&set->mutex);
    for (struct stream **at = &set->first; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            set->n--;
            break;
        }
    stream->freed = 1;
    int filling = stream->filling;
    pthread_mutex_unlock(&set->mutex);
    if (!filling)
        stream_free(stream);
}

/* libmicrohttpd's callback for bytes: those in the buffer; without any, the connection is
 * suspended and the hub is woken to fill the buffer. */
static ssize_t stream_read(void *self, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct stream *stream = self;
    struct stream_set *set = stream->set;
    ssize_t result = 0;
    pthread_mutex_lock(&set->mutex);
    size_t left = stream->n - stream->taken;
    stream->suspended = 0;
    if (stream->gone) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left) {
        size_t n = left < max ? left : max;
        memcpy(out, stream->buffer + stream->taken, n);
        stream->taken += n;
        result = (ssize_t)n;
    } else if (set->ending || stream->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->suspended = 1;
        MHD_suspend_connection(stream->connection);
        stream_wake(set);
    }
    pthread_mutex_unlock(&set->mutex);
    return result;
}

void stream_resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = 0;
    MHD_resume_connection(stream->connection);
}

int stream_reap(struct stream_set *set)
{
    int alive = 0;
    for (struct stream *stream = set->first; stream; stream = stream->next) {
        if (!stream->gone && stream->suspended && client_left_socket(stream->fd)) {
            stream->gone = 1;
            stream_resume(stream);
        }
        alive += !stream->gone;
    }
    return alive;
}

static struct stream *stream_new(struct stream_set *set, struct request *request,
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
    stream->set = set;
    stream->connection = request->connection;
    stream->fd = info ? info->connect_fd : -1;
    stream->credential = request->credential;
    stream->checked_ms = clock_monotonic_ms();
    stream->at_present = position == NULL;
    if (position)
        stream->position = *position;
    return stream;
}

/* Add a new stream to the set, or refuse it. At the limit, streams whose client has left but
 * which the hub has not found yet do not count. */
static int stream_admit(struct stream_set *set, struct stream *stream, struct err *err)
{
    int result = 0;
    pthread_mutex_lock(&set->mutex);
    if (set->ending)
        result = err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    else if (set->n >= set->max && stream_reap(set) >= set->max)
        result = err_set(err, ERR_UNAVAILABLE, "%d event streams are open, the limit", set->max);
    else {
        stream->next = set->first;
        set->first = stream;
        set->n++;
    }
    pthread_mutex_unlock(&set->mutex);
    return result;
}

int stream_open(struct stream_set *set, struct request *request,
                const struct stream_position *position, const char *jobs, struct err *err)
{
    struct stream *stream = stream_new(set, request, position, jobs);
    if (!stream)
        return err_set(err, ERR_NO_MEMORY, "no memory for a stream");
    if (stream_admit(set, stream, err)) {
        stream_free(stream);
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
    stream_wake(set);
    return 0;
}
