/* hub: the hub thread: see stream.h and hub.h. A round: fill the streams whose
 * buffers are empty, end those whose credential is not good any more, answer those that wait for a job, and notice streams whose
 * client has left, because a suspended connection is not watched by
 * libmicrohttpd. Between rounds it sleeps in poll() on its eventfd and on the
 * sockets of the streams. */
#include "server/hub.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/log.h"
#include "db/events.h"
#include "db/jobs.h"
#include "db/users.h"

/* ---- hub thread: filling ---- */

struct hub_fill {
    struct hub *hub;
    struct stream *stream;
    FILE *out;
    size_t written;
    struct stream_position position; /* after what was written */
    int n_read, full, failed;
    struct event events[STREAM_EVENTS];
    struct err err;
};

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

static void hub_write_event(struct hub_fill *fill, const struct event *event, int64_t first)
{
    while (!fill->failed && !fill->full) {
        const char *text;
        size_t n;
        int64_t next;
        if (message_cache_get(fill->hub->cache, event, first, &text, &n, &next, &fill->err)) {
            fill->failed = -1;
            return;
        }
        fill->position = (struct stream_position){event->id, next};
        if (n) {
            fwrite(text, 1, n, fill->out);
            /* A part's id lies between its event's and the one before: they only grow. */
            fprintf(fill->out, next ? "id: %lld.%07lld\n\n" : "id: %lld\n\n",
                    (long long)(next ? event->id - 1 : event->id), (long long)next);
        }
        fill->written += n;
        fill->full = fill->written >= STREAM_BUFFER_BYTES;
        if (!next)
            return;
        first = next;
    }
}

/* Is a position older than what is kept, or not given out yet? Events that are
 * missing because their job was deleted or retried are no loss. */
static int hub_is_lost(int64_t position, int64_t oldest, int64_t newest)
{
    return position > newest || (position < newest - EVENTS_KEPT && position + 1 < oldest);
}

static void hub_write_reset(struct hub_fill *fill, int64_t newest)
{
    fill->position = (struct stream_position){newest, 0};
    fprintf(fill->out, "event: reset\ndata: {}\nid: %lld\n\n", (long long)newest);
}

static void hub_write_new(struct hub_fill *fill)
{
    /* A client may read so slowly that what it has not read is dropped. */
    if (fill->position.id < fill->hub->newest &&
        hub_is_lost(fill->position.id, fill->hub->oldest, fill->hub->newest)) {
        hub_write_reset(fill, fill->hub->newest);
        return;
    }
    /* Inside an event the position is that event again, from an epoch on. */
    int64_t after = fill->position.epoch ? fill->position.id - 1 : fill->position.id;
    int64_t epoch = fill->position.epoch, inside = fill->position.id;
    if (events_read(fill->hub->reader, after, fill->stream->jobs, STREAM_EVENTS, hub_collect, fill,
                    &fill->err))
        fill->failed = -1;
    for (int i = 0; i < fill->n_read; i++) {
        const struct event *event = &fill->events[i];
        if (!fill->full && !fill->failed)
            hub_write_event(fill, event, epoch && event->id == inside ? epoch : 0);
        free((void *)(uintptr_t)event->data);
    }
    /* All up to the newest known were looked at: the filter left the rest out. */
    if (!fill->failed && !fill->full && fill->n_read < STREAM_EVENTS) {
        fill->position.epoch = 0;
        if (fill->position.id < fill->hub->newest)
            fill->position.id = fill->hub->newest;
    }
}

/* The first bytes of a stream. */
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

/* 0 for a stream whose credential is not good any more; a database that cannot be read
 * says nothing about it. */
static int hub_may_read(struct hub *hub, struct stream *stream, time_t now)
{
    const struct credential *credential = &stream->credential;
    struct user user;
    struct err err;
    if (!credential->kind || now - stream->checked_at < STREAM_CREDENTIAL_SECONDS)
        return 1;
    stream->checked_at = now;
    err_clear(&err);
    return credential_user(hub->reader, credential->kind, credential->hash, &user, &err) == 0 ||
           err.code != ERR_UNAUTHORIZED;
}

static void hub_end_stream(struct hub *hub, struct stream *stream)
{
    pthread_mutex_lock(&hub->mutex);
    stream->ended = 1;
    stream_resume(stream);
    pthread_mutex_unlock(&hub->mutex);
}

static void hub_fill_stream(struct hub *hub, struct stream *stream, time_t now)
{
    if (stream->sent_at && stream->position.id >= hub->newest && !stream->position.epoch &&
        now - stream->sent_at < STREAM_HEARTBEAT_SECONDS)
        return;
    struct hub_fill *fill = calloc(1, sizeof *fill);
    char *text = NULL;
    size_t n = 0;
    if (!fill || !(fill->out = open_memstream(&text, &n))) {
        free(fill);
        return; /* no memory now: the next round tries again */
    }
    fill->hub = hub;
    fill->stream = stream;
    fill->position = stream->position;
    err_clear(&fill->err);
    if (!stream->sent_at)
        hub_write_start(fill);
    if (!fill->failed && (fill->position.id < hub->newest || fill->position.epoch))
        hub_write_new(fill);
    if (!fill->failed && !fill->written && stream->sent_at &&
        now - stream->sent_at >= STREAM_HEARTBEAT_SECONDS)
        fputs(": heartbeat\n\n", fill->out);
    if (fclose(fill->out) != 0 && !fill->failed)
        fill->failed = err_set(&fill->err, ERR_NO_MEMORY, "no memory for a stream");
    pthread_mutex_lock(&hub->mutex);
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
            stream->sent_at = now ? now : 1;
            stream_resume(stream);
        }
    }
    pthread_mutex_unlock(&hub->mutex);
    free(fill);
}

/* The next stream with an empty buffer that has not been filled in this round,
 * pinned; NULL when none is left. */
static struct stream *hub_pin(struct hub *hub, int round)
{
    struct stream *found = NULL;
    pthread_mutex_lock(&hub->mutex);
    for (struct stream *stream = hub->streams; stream && !found && !hub->ending;
         stream = stream->next)
        if (!stream->gone && !stream->ended && stream->taken == stream->n &&
            stream->round != round) {
            stream->round = round;
            stream->filling = 1;
            found = stream;
        }
    pthread_mutex_unlock(&hub->mutex);
    return found;
}

static void hub_unpin(struct hub *hub, struct stream *stream)
{
    pthread_mutex_lock(&hub->mutex);
    stream->filling = 0;
    int freed = stream->freed;
    pthread_mutex_unlock(&hub->mutex);
    if (freed)
        stream_release(stream);
}

/* ---- hub thread: waiters and rounds ---- */

static int hub_waiter_is_over(struct hub *hub, const struct waiter *waiter, time_t now)
{
    struct job *job = NULL;
    struct err err;
    err_clear(&err);
    if (hub->ending || now >= waiter->until || job_get(hub->reader, waiter->job, &job, &err))
        return 1; /* a job that is gone is told by the handler */
    int over = (int)job->state != waiter->state;
    job_free(job);
    return over;
}

static void hub_answer_waiters(struct hub *hub, time_t now)
{
    pthread_mutex_lock(&hub->mutex);
    struct waiter *waiters = hub->waiters;
    hub->waiters = NULL;
    pthread_mutex_unlock(&hub->mutex);
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        int over = hub_waiter_is_over(hub, waiter, now);
        pthread_mutex_lock(&hub->mutex);
        if (over) {
            hub->n_waiters--;
        } else {
            waiter->next = hub->waiters;
            hub->waiters = waiter;
        }
        pthread_mutex_unlock(&hub->mutex);
        if (over) {
            request_finish(waiter->request);
            free(waiter);
        }
    }
}

static void hub_round(struct hub *hub, int round)
{
    struct err err;
    time_t now = hub_clock();
    struct stream *stream;
    err_clear(&err);
    if (events_range(hub->reader, &hub->oldest, &hub->newest, &err))
        log_line(LOG_ERROR, "event hub: %s", err.message);
    while ((stream = hub_pin(hub, round))) {
        if (hub_may_read(hub, stream, now))
            hub_fill_stream(hub, stream, now);
        else
            hub_end_stream(hub, stream);
        hub_unpin(hub, stream);
    }
    hub_answer_waiters(hub, now);
    pthread_mutex_lock(&hub->mutex);
    hub_reap(hub);
    if (hub->ending)
        for (stream = hub->streams; stream; stream = stream->next)
            stream_resume(stream);
    pthread_mutex_unlock(&hub->mutex);
}

/* Sleep until a notice, a client that leaves, or a second has passed. */
static void hub_sleep(struct hub *hub)
{
    struct pollfd *fds = hub->fds;
    nfds_t n = 1;
    fds[0] = (struct pollfd){.fd = hub->wake, .events = POLLIN};
    pthread_mutex_lock(&hub->mutex);
    for (struct stream *stream = hub->streams; stream && n <= (nfds_t)hub->max_streams;
         stream = stream->next)
        if (stream->suspended && !stream->gone)
            fds[n++] = (struct pollfd){.fd = stream->fd, .events = POLLRDHUP};
    pthread_mutex_unlock(&hub->mutex);
    poll(fds, n, 1000);
    uint64_t drained;
    ssize_t ignored = read(hub->wake, &drained, sizeof drained);
    (void)ignored;
    usleep(STREAM_PAUSE_MS * 1000);
}

static void *hub_run(void *self)
{
    struct hub *hub = self;
    for (int round = 1;; round = round % 1000000 + 1) {
        hub_sleep(hub);
        pthread_mutex_lock(&hub->mutex);
        int stopping = hub->stopping;
        pthread_mutex_unlock(&hub->mutex);
        if (stopping)
            break;
        hub_round(hub, round);
    }
    return NULL;
}

/* ---- start and stop ---- */

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    message_cache_free(hub->cache);
    db_reader_close(hub->reader);
    if (hub->wake >= 0)
        close(hub->wake);
    pthread_mutex_destroy(&hub->mutex);
    free(hub->fds);
    free(hub);
}

int hub_start(struct db *db, int64_t max_streams, int64_t max_connections, struct hub **out,
              struct err *err)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        return err_set(err, ERR_NO_MEMORY, "no memory for the event hub");
    pthread_mutex_init(&hub->mutex, NULL);
    hub->max_streams = (int)(max_streams < max_connections / 2 ? max_streams : max_connections / 2);
    hub->max_waiters =
        (int)(max_connections / 4 < STREAM_WAITERS_MAX ? max_connections / 4 : STREAM_WAITERS_MAX);
    hub->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hub->wake < 0) {
        err_set_errno(err, ERR_IO, "cannot make an eventfd");
        goto out;
    }
    if (db_reader_open(db, &hub->reader, err))
        goto out;
    hub->fds = calloc((size_t)hub->max_streams + 1, sizeof *hub->fds);
    if (!hub->fds || !(hub->cache = message_cache_new(hub->reader))) {
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
    pthread_mutex_lock(&hub->mutex);
    hub->ending = 1;
    pthread_mutex_unlock(&hub->mutex);
    hub_wake(hub);
}

void hub_stop(struct hub *hub)
{
    if (!hub)
        return;
    pthread_mutex_lock(&hub->mutex);
    hub->stopping = 1;
    pthread_mutex_unlock(&hub->mutex);
    hub_wake(hub);
    pthread_join(hub->thread, NULL);
    message_cache_free(hub->cache);
    db_reader_close(hub->reader);
    hub->cache = NULL;
    hub->reader = NULL;
}
