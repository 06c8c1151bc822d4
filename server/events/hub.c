/* hub: see hub.h. One round of the hub thread: fill the streams whose buffers are empty, end
 * those whose credential is not valid any more, answer requests whose job has changed, and
 * find streams whose client has left, because libmicrohttpd does not watch the socket of a
 * suspended connection. Between rounds the thread sleeps in poll() on its eventfd and on the
 * sockets of suspended streams.
 *
 * Order of commit and wake: the writer commits, then wakes the eventfd. A round reads after
 * it was woken, so it sees every event whose wake it consumed; a commit during a round leaves
 * the eventfd readable for the next one.
 *
 * The mutex of the set (stream.h) guards the streams, `stopping` and the waiters. It is never
 * held during a database read, so the HTTP thread waits for it only briefly. `fds`, `reader`,
 * `texts`, `oldest` and `newest` belong to the hub thread.
 *
 * What a stream sends: `retry:` and its position first (hub_write_start), then events
 * (hub_write_event: the lines of event_text.h and `id:`), `reset` if events after the
 * position were deleted, and a comment line as heartbeat. */
#include "server/events/hub.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/log.h"
#include "db/events.h"
#include "db/jobs.h"
#include "db/users.h"
#include "server/events/event_text.h"

/* A parked request that waits for a job to leave a state. The hub owns the request until
 * request_finish. */
struct waiter {
    struct request *request;
    char job[DB_ID_MAX];
    int state;        /* enum job_state that it shall leave */
    int64_t until_ms; /* monotonic clock */
    struct waiter *next;
};

struct hub {
    struct stream_set streams;
    pthread_t thread;
    struct pollfd *fds; /* [streams.max + 1] for hub_sleep */
    int stopping;
    int max_waiters, n_waiters;
    struct waiter *waiters;
    struct db_reader *reader;
    struct event_texts *texts;
    int64_t oldest, newest; /* ids of stored events, read at the start of a round */
};

/* ---- hub thread: filling ---- */

/* One filling of one stream. It works on copies; only the swap of the buffer at the end of
 * hub_fill_stream needs the mutex. */
struct hub_fill {
    struct hub *hub;
    struct stream *stream;
    FILE *out;                       /* the new buffer */
    size_t written;                  /* bytes of events in it */
    struct stream_position position; /* after the last event written */
    int n_read, full, failed;
    struct event events[HUB_EVENTS];
    struct err err;
};

/* Copy an event: its strings are valid during the callback only, and making a text reads the
 * database again. */
static int hub_collect(void *self, const struct event *event)
{
    struct hub_fill *fill = self;
    struct event *copy = &fill->events[fill->n_read];
    *copy = *event;
    if (event->data && !(copy->data = strdup(event->data))) {
        fill->failed = err_set(&fill->err, ERR_NO_MEMORY, "no memory for an event");
        return 1;
    }
    fill->n_read++;
    return 0;
}

/* Append an event, from epoch `first` on if it is an `epoch` event, in parts until the buffer
 * is full. Each part has an id, so that a client can resume inside a long event. */
static void hub_write_event(struct hub_fill *fill, const struct event *event, int64_t first)
{
    while (!fill->failed && !fill->full) {
        const char *text;
        size_t n;
        int64_t next;
        if (event_texts_get(fill->hub->texts, event, first, &text, &n, &next, &fill->err)) {
            fill->failed = -1;
            return;
        }
        fill->position = (struct stream_position){event->id, next};
        if (n) {
            fwrite(text, 1, n, fill->out);
            /* The id of a part lies between the ids of the event before and of its own event,
             * "<id - 1>.<next epoch>", so ids only grow. stream_position_parse reads it. */
            fprintf(fill->out, next ? "id: %lld.%07lld\n\n" : "id: %lld\n\n",
                    (long long)(next ? event->id - 1 : event->id), (long long)next);
        }
        fill->written += n;
        fill->full = fill->written >= HUB_BUFFER_BYTES;
        if (!next)
            return;
        first = next;
    }
}

/* 1 if events after the position were dropped because of age, or if the position was never
 * given out (another database). Events that are missing because their job was deleted or
 * retried are no loss: nobody needs them any more. */
static int hub_is_lost(int64_t position, int64_t oldest, int64_t newest)
{
    return position > newest || (position < newest - EVENTS_KEPT && position + 1 < oldest);
}

/* Event `reset`: the client has missed events and shall read the state anew. */
static void hub_write_reset(struct hub_fill *fill, int64_t newest)
{
    fill->position = (struct stream_position){newest, 0};
    fprintf(fill->out, "event: reset\ndata: {}\nid: %lld\n\n", (long long)newest);
}

static void hub_write_new(struct hub_fill *fill)
{
    /* Of a slow client the next events may have been dropped since the last round. */
    if (fill->position.id < fill->hub->newest &&
        hub_is_lost(fill->position.id, fill->hub->oldest, fill->hub->newest)) {
        hub_write_reset(fill, fill->hub->newest);
        return;
    }
    /* A position inside an event needs that event again, from an epoch on. */
    int64_t after = fill->position.epoch ? fill->position.id - 1 : fill->position.id;
    int64_t epoch = fill->position.epoch, inside = fill->position.id;
    if (events_read(fill->hub->reader, after, fill->stream->jobs, HUB_EVENTS, hub_collect, fill,
                    &fill->err))
        fill->failed = -1;
    for (int i = 0; i < fill->n_read; i++) {
        const struct event *event = &fill->events[i];
        if (!fill->full && !fill->failed)
            hub_write_event(fill, event, epoch && event->id == inside ? epoch : 0);
        free((void *)(uintptr_t)event->data);
    }
    /* All events up to `newest` were read, and the filter excluded the rest: move on, so that
     * the next round does not scan them again. */
    if (!fill->failed && !fill->full && fill->n_read < HUB_EVENTS) {
        fill->position.epoch = 0;
        if (fill->position.id < fill->hub->newest)
            fill->position.id = fill->hub->newest;
    }
}

/* First bytes of a stream: the reconnection time, and its position if it begins at present. */
static void hub_write_start(struct hub_fill *fill)
{
    struct stream *stream = fill->stream;
    int64_t oldest = 0, newest = 0;
    if (events_range(fill->hub->reader, &oldest, &newest, &fill->err)) {
        fill->failed = -1;
        return;
    }
    fputs("retry: 1000\n", fill->out);
    if (stream->at_present) {
        fill->position = (struct stream_position){newest, 0};
        fprintf(fill->out, "id: %lld\n\n", (long long)newest);
    } else if (hub_is_lost(fill->position.id, oldest, newest)) {
        hub_write_reset(fill, newest);
    } else {
        fputs("\n", fill->out);
    }
}

/* 0 if the stream's credential is not valid any more. If the database cannot be read, that is
 * not known, and the stream goes on. */
static int hub_may_read(struct hub *hub, struct stream *stream, int64_t now_ms)
{
    const struct credential *credential = &stream->credential;
    struct user user;
    struct err err = ERR_INIT;
    if (!credential->kind || now_ms - stream->checked_ms < HUB_CREDENTIAL_SECONDS * 1000)
        return 1;
    stream->checked_ms = now_ms;
    return credential_user(hub->reader, credential->kind, credential->hash, &user, &err) == 0 ||
           err.code != ERR_UNAUTHORIZED;
}

/* End a pinned stream after the bytes in its buffer. */
static void hub_end_stream(struct hub *hub, struct stream *stream)
{
    pthread_mutex_lock(&hub->streams.mutex);
    stream->ended = 1;
    stream_resume(stream);
    pthread_mutex_unlock(&hub->streams.mutex);
}

/* Fill the empty buffer of a pinned stream, if there is something to send. The stream's
 * position is read and written without the mutex: only the hub thread uses it. */
static void hub_fill_stream(struct hub *hub, struct stream *stream, int64_t now_ms)
{
    if (stream->sent_ms && stream->position.id >= hub->newest && !stream->position.epoch &&
        now_ms - stream->sent_ms < HUB_HEARTBEAT_SECONDS * 1000)
        return;
    struct hub_fill *fill = calloc(1, sizeof *fill);
    char *text = NULL;
    size_t n = 0;
    if (!fill || !(fill->out = open_memstream(&text, &n))) {
        free(fill);
        return; /* no memory: the next round tries again */
    }
    fill->hub = hub;
    fill->stream = stream;
    fill->position = stream->position;
    err_clear(&fill->err);
    if (!stream->sent_ms)
        hub_write_start(fill);
    if (!fill->failed && (fill->position.id < hub->newest || fill->position.epoch))
        hub_write_new(fill);
    if (!fill->failed && !fill->written && stream->sent_ms &&
        now_ms - stream->sent_ms >= HUB_HEARTBEAT_SECONDS * 1000)
        fputs(": heartbeat\n\n", fill->out);
    if (fclose(fill->out) != 0 && !fill->failed)
        fill->failed = err_set(&fill->err, ERR_NO_MEMORY, "no memory for a stream");
    pthread_mutex_lock(&hub->streams.mutex);
    if (fill->failed) {
        log_line(LOG_ERROR, "event stream ended: %s", fill->err.message);
        free(text);
        stream->gone = 1;
        stream_resume(stream);
    } else {
        free(stream->buffer);
        stream->buffer = text;
        stream->n = n;
        stream->taken = 0;
        stream->position = fill->position;
        if (n) {
            stream->sent_ms = now_ms;
            stream_resume(stream);
        }
    }
    pthread_mutex_unlock(&hub->streams.mutex);
    free(fill);
}

/* Pin the next stream with an empty buffer that this round has not filled; NULL when there is
 * none. A pinned stream is not freed by the HTTP thread, so the mutex can be released while
 * the database is read. The list is searched from its head each time, because it may change
 * meanwhile. */
static struct stream *hub_pin(struct hub *hub, int round)
{
    struct stream *found = NULL;
    pthread_mutex_lock(&hub->streams.mutex);
    for (struct stream *stream = hub->streams.first; stream && !found && !hub->streams.ending;
         stream = stream->next)
        if (!stream->gone && !stream->ended && stream->taken == stream->n &&
            stream->round != round) {
            stream->round = round;
            stream->filling = 1;
            found = stream;
        }
    pthread_mutex_unlock(&hub->streams.mutex);
    return found;
}

/* Unpin, and free the stream if the HTTP thread released it meanwhile (stream_end). */
static void hub_unpin(struct hub *hub, struct stream *stream)
{
    pthread_mutex_lock(&hub->streams.mutex);
    stream->filling = 0;
    int freed = stream->freed;
    pthread_mutex_unlock(&hub->streams.mutex);
    if (freed)
        stream_free(stream);
}

/* ---- hub thread: waiters and rounds ---- */

static int hub_waiter_is_over(struct hub *hub, const struct waiter *waiter, int64_t now_ms)
{
    struct job *job = NULL;
    struct err err = ERR_INIT;
    if (hub->streams.ending || now_ms >= waiter->until_ms ||
        job_get(hub->reader, waiter->job, &job, &err))
        return 1; /* a deleted job: the handler answers that */
    int over = (int)job->state != waiter->state;
    job_free(job);
    return over;
}

/* The list is detached first, because job_get must not run under the mutex; waiters that are
 * not over go back to it, beside those that hub_wait added meanwhile. */
static void hub_answer_waiters(struct hub *hub, int64_t now_ms)
{
    pthread_mutex_lock(&hub->streams.mutex);
    struct waiter *waiters = hub->waiters;
    hub->waiters = NULL;
    pthread_mutex_unlock(&hub->streams.mutex);
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        int over = hub_waiter_is_over(hub, waiter, now_ms);
        pthread_mutex_lock(&hub->streams.mutex);
        if (over) {
            hub->n_waiters--;
        } else {
            waiter->next = hub->waiters;
            hub->waiters = waiter;
        }
        pthread_mutex_unlock(&hub->streams.mutex);
        if (over) {
            request_finish(waiter->request);
            free(waiter);
        }
    }
}

/* `round` differs from that of the round before; a stream keeps it as a mark (hub_pin). */
static void hub_round(struct hub *hub, int round)
{
    struct err err = ERR_INIT;
    const int64_t now_ms = clock_monotonic_ms();
    struct stream *stream;
    if (events_range(hub->reader, &hub->oldest, &hub->newest, &err))
        log_line(LOG_ERROR, "event hub: %s", err.message);
    while ((stream = hub_pin(hub, round))) {
        if (hub_may_read(hub, stream, now_ms))
            hub_fill_stream(hub, stream, now_ms);
        else
            hub_end_stream(hub, stream);
        hub_unpin(hub, stream);
    }
    hub_answer_waiters(hub, now_ms);
    pthread_mutex_lock(&hub->streams.mutex);
    stream_reap(&hub->streams);
    if (hub->streams.ending)
        for (stream = hub->streams.first; stream; stream = stream->next)
            stream_resume(stream);
    pthread_mutex_unlock(&hub->streams.mutex);
}

/* Sleep until a wake, until a client leaves (POLLRDHUP), or for a second: waiters and
 * heartbeats have deadlines. The pause at the end bounds the rate of rounds. */
static void hub_sleep(struct hub *hub)
{
    struct pollfd *fds = hub->fds;
    nfds_t n = 1;
    fds[0] = (struct pollfd){.fd = hub->streams.wake, .events = POLLIN};
    pthread_mutex_lock(&hub->streams.mutex);
    for (struct stream *stream = hub->streams.first; stream && n <= (nfds_t)hub->streams.max;
         stream = stream->next)
        if (stream->suspended && !stream->gone)
            fds[n++] = (struct pollfd){.fd = stream->fd, .events = POLLRDHUP};
    pthread_mutex_unlock(&hub->streams.mutex);
    poll(fds, n, 1000);
    uint64_t drained;
    ssize_t ignored = read(hub->streams.wake, &drained, sizeof drained);
    (void)ignored;
    usleep(HUB_PAUSE_MS * 1000);
}

static void *hub_run(void *self)
{
    struct hub *hub = self;
    for (int round = 1;; round = round % 1000000 + 1) {
        hub_sleep(hub);
        pthread_mutex_lock(&hub->streams.mutex);
        int stopping = hub->stopping;
        pthread_mutex_unlock(&hub->streams.mutex);
        if (stopping)
            break;
        hub_round(hub, round);
    }
    return NULL;
}

/* ---- any thread ---- */

void hub_notify(void *self, int64_t last_event)
{
    struct hub *hub = self;
    (void)last_event;
    stream_wake(&hub->streams);
}

int hub_streams(struct hub *hub)
{
    pthread_mutex_lock(&hub->streams.mutex);
    int n = hub->streams.n;
    pthread_mutex_unlock(&hub->streams.mutex);
    return n;
}

/* ---- HTTP thread ---- */

int hub_open_stream(struct hub *hub, struct request *request,
                    const struct stream_position *position, const char *jobs, struct err *err)
{
    return stream_open(&hub->streams, request, position, jobs, err);
}

int hub_wait(struct hub *hub, struct request *request, const char *job, int state, int seconds,
             request_handler *next, struct err *err)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return err_set(err, ERR_NO_MEMORY, "no memory to wait");
    waiter->request = request;
    waiter->state = state;
    waiter->until_ms = clock_monotonic_ms() + (int64_t)seconds * 1000;
    snprintf(waiter->job, sizeof waiter->job, "%s", job);
    pthread_mutex_lock(&hub->streams.mutex);
    int refused = hub->streams.ending || hub->n_waiters >= hub->max_waiters;
    if (!refused) {
        request_park(request, next);
        waiter->next = hub->waiters;
        hub->waiters = waiter;
        hub->n_waiters++;
    }
    pthread_mutex_unlock(&hub->streams.mutex);
    if (refused) {
        free(waiter);
        return err_set(err, ERR_UNAVAILABLE, "%d requests are waiting already", hub->max_waiters);
    }
    stream_wake(&hub->streams); /* the state may have changed since the handler read it */
    return 0;
}

/* ---- start and stop ---- */

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    event_texts_free(hub->texts);
    db_reader_close(hub->reader);
    if (hub->streams.wake >= 0)
        close(hub->streams.wake);
    pthread_mutex_destroy(&hub->streams.mutex);
    free(hub->fds);
    free(hub);
}

int hub_start(struct db *db, int64_t max_streams, int64_t max_connections, struct hub **out,
              struct err *err)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        return err_set(err, ERR_NO_MEMORY, "no memory for the event hub");
    pthread_mutex_init(&hub->streams.mutex, NULL);
    hub->streams.max = (int)(max_streams < max_connections / 2 ? max_streams : max_connections / 2);
    hub->max_waiters =
        (int)(max_connections / 4 < HUB_WAITERS_MAX ? max_connections / 4 : HUB_WAITERS_MAX);
    hub->streams.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hub->streams.wake < 0) {
        err_set_errno(err, ERR_IO, "cannot make an eventfd");
        goto out;
    }
    if (db_reader_open(db, &hub->reader, err))
        goto out;
    hub->fds = calloc((size_t)hub->streams.max + 1, sizeof *hub->fds);
    if (!hub->fds || !(hub->texts = event_texts_new(hub->reader))) {
        err_set(err, ERR_NO_MEMORY, "no memory for the event hub");
        goto out;
    }
    if (pthread_create(&hub->thread, NULL, hub_run, hub)) {
        err_set(err, ERR_IO, "cannot start the event hub's thread");
        goto out;
    }
    *out = hub;
    return 0;
out:
    hub_free(hub);
    return -1;
}

void hub_end_streams(struct hub *hub)
{
    pthread_mutex_lock(&hub->streams.mutex);
    hub->streams.ending = 1;
    pthread_mutex_unlock(&hub->streams.mutex);
    stream_wake(&hub->streams);
}

void hub_stop(struct hub *hub)
{
    if (!hub)
        return;
    pthread_mutex_lock(&hub->streams.mutex);
    hub->stopping = 1;
    pthread_mutex_unlock(&hub->streams.mutex);
    stream_wake(&hub->streams);
    pthread_join(hub->thread, NULL);
    event_texts_free(hub->texts);
    db_reader_close(hub->reader);
    hub->texts = NULL;
    hub->reader = NULL;
}
