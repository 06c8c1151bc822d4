/* pool: see pool.h. The mutex guards `stopping`, the lanes with their clients, and the members
 * pool_next and pool_client of queued requests; it is not held while a handler runs. `threads`
 * and `n_threads` belong to the thread that starts and stops the pool.
 *
 * Invariants: a client exists as long as requests of it are under way. It stands in the queue
 * of its lane once if requests of it wait, else not. */
#include "server/http/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/client.h"
#include "server/http/request.h"
#include "server/http/route.h"

enum pool_lane_name { POOL_LIGHT, POOL_HEAVY, POOL_LANES };

struct pool_client {
    char name[REQUEST_CLIENT_MAX];
    struct request *first, *last; /* waiting; linked by pool_next */
    int n_under_way;
    struct pool_client *next;       /* in the queue of the lane */
    struct pool_client *next_known; /* in the list of all clients of the lane */
};

struct pool_lane {
    pthread_cond_t came;
    struct pool_client *first, *last; /* the queue: the first client has the next turn */
    struct pool_client *known;
    int n_waiting; /* requests */
};

struct pool_thread {
    struct pool *pool;
    struct pool_lane *lane;
    struct db_reader *reader;
    pthread_t thread;
};

struct pool {
    pthread_mutex_t mutex;
    struct pool_lane lanes[POOL_LANES];
    int stopping, n_threads;
    struct pool_thread *threads;
};

static int pool_is_heavy(const struct request *request)
{
    return (request->route->flags & ROUTE_HEAVY) != 0;
}

static struct pool_lane *pool_lane(struct pool *pool, const struct request *request)
{
    return &pool->lanes[pool_is_heavy(request) ? POOL_HEAVY : POOL_LIGHT];
}

/* ---- queue; the caller holds the mutex ---- */

static void pool_append_client(struct pool_lane *lane, struct pool_client *client)
{
    client->next = NULL;
    if (lane->first)
        lane->last->next = client;
    else
        lane->first = client;
    lane->last = client;
}

static void pool_append(struct pool_lane *lane, struct request *request)
{
    struct pool_client *client = request->pool_client;
    request->pool_next = NULL;
    if (client->first)
        client->last->pool_next = request;
    else
        client->first = request;
    client->last = request;
    if (client->first == request)
        pool_append_client(lane, client);
    lane->n_waiting++;
    pthread_cond_signal(&lane->came);
}

/* The oldest request of the client whose turn it is; the client goes to the end of the queue. */
static struct request *pool_next(struct pool_lane *lane)
{
    struct pool_client *client = lane->first;
    struct request *request = client->first;
    lane->first = client->next;
    client->first = request->pool_next;
    if (client->first)
        pool_append_client(lane, client);
    lane->n_waiting--;
    return request;
}

static struct pool_client *pool_find(struct pool_lane *lane, const char *name)
{
    struct pool_client *client = lane->known;
    while (client && strcmp(client->name, name) != 0)
        client = client->next_known;
    if (client || !(client = calloc(1, sizeof *client)))
        return client;
    strcpy(client->name, name);
    client->next_known = lane->known;
    lane->known = client;
    return client;
}

/* Free the clients of which nothing is under way. */
static void pool_drop_idle(struct pool_lane *lane)
{
    for (struct pool_client **at = &lane->known; *at;) {
        struct pool_client *client = *at;
        if (client->n_under_way) {
            at = &client->next_known;
            continue;
        }
        *at = client->next_known;
        free(client);
    }
}

static void pool_forget(struct request *request)
{
    request->pool_client->n_under_way--;
    request->pool_client = NULL;
}

/* Of a GET nothing but the answer is wanted. Other methods are carried out to their end. */
static int pool_is_in_vain(const struct request *request)
{
    return pool_is_heavy(request) && (request_is(request, "GET") || request_is(request, "HEAD")) &&
           client_left(request);
}

/* Take the waiting requests whose clients have left out of the queue, as a list. The queue is
 * emptied before the others are appended again: so each client's requests keep their order. */
static struct request *pool_sweep(struct pool_lane *lane)
{
    struct request *swept = NULL, *first = NULL, **last = &first, *next;
    while (lane->first) {
        struct request *request = pool_next(lane);
        if (pool_is_in_vain(request)) {
            pool_forget(request);
            request->pool_next = swept;
            swept = request;
        } else {
            *last = request;
            last = &request->pool_next;
        }
    }
    *last = NULL;
    for (; first; first = next) {
        next = first->pool_next;
        pool_append(lane, first);
    }
    return swept;
}

static int pool_check(const struct pool *pool, const struct pool_lane *lane,
                      const struct pool_client *client, struct err *err)
{
    if (!client)
        return err_set(err, ERR_NO_MEMORY, "no memory for a client");
    if (pool->stopping)
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    if (lane == &pool->lanes[POOL_HEAVY] && client->n_under_way >= POOL_HEAVY_PER_CLIENT)
        return err_set(err, ERR_TOO_MANY, "%d of your requests for large answers are under way",
                       POOL_HEAVY_PER_CLIENT);
    if (lane->n_waiting >= POOL_WAITING_MAX)
        return err_set(err, ERR_UNAVAILABLE, "%d slow requests are waiting already",
                       POOL_WAITING_MAX);
    return 0;
}

/* ---- push and leave ---- */

static void pool_abandon(struct request *request)
{
    request->abandoned = 1;
    request_finish(request);
}

int pool_push(struct pool *pool, struct request *request, struct err *err)
{
    struct pool_lane *lane = pool_lane(pool, request);
    struct request *swept = NULL, *next;
    struct err refusal = ERR_INIT;
    char name[REQUEST_CLIENT_MAX];
    client_name(request, name);
    pthread_mutex_lock(&pool->mutex);
    struct pool_client *client = pool_find(lane, name);
    int refused = pool_check(pool, lane, client, &refusal);
    if (refused) {
        swept = pool_sweep(lane);
        refused = pool_check(pool, lane, client, &refusal);
    }
    if (!refused) {
        request->pool_client = client;
        client->n_under_way++;
        pool_append(lane, request);
    }
    pool_drop_idle(lane);
    pthread_mutex_unlock(&pool->mutex);
    for (; swept; swept = next) {
        next = swept->pool_next; /* before the hand-over */
        pool_abandon(swept);
    }
    if (refused)
        *err = refusal;
    return refused;
}

int pool_push_again(struct pool *pool, struct request *request)
{
    pthread_mutex_lock(&pool->mutex);
    int refused = pool->stopping ? -1 : 0;
    if (!refused)
        pool_append(pool_lane(pool, request), request);
    pthread_mutex_unlock(&pool->mutex);
    return refused;
}

void pool_leave(struct pool *pool, struct request *request)
{
    pthread_mutex_lock(&pool->mutex);
    if (request->pool_client) {
        pool_forget(request);
        pool_drop_idle(pool_lane(pool, request));
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- threads ---- */

/* Next request of the lane; NULL once the pool is stopping and none waits. So every request
 * that was pushed is given back. */
static struct request *pool_take(struct pool *pool, struct pool_lane *lane, int *stopping)
{
    pthread_mutex_lock(&pool->mutex);
    while (!lane->n_waiting && !pool->stopping)
        pthread_cond_wait(&lane->came, &pool->mutex);
    struct request *request = lane->n_waiting ? pool_next(lane) : NULL;
    *stopping = pool->stopping;
    pthread_mutex_unlock(&pool->mutex);
    return request;
}

/* While the pool is stopping a request without an answer gets 503; one whose answer has begun
 * (its work is not the route's handler any more) can only be broken off. */
static void pool_refuse(struct request *request)
{
    if (request->work != request->route->handler) {
        pool_abandon(request);
        return;
    }
    err_set(&request->err, ERR_UNAVAILABLE, "the server is stopping");
    request_fail(request, &request->err);
    request_finish(request);
}

static void *pool_run(void *self)
{
    struct pool_thread *thread = self;
    struct request *request;
    int stopping = 0;
    while ((request = pool_take(thread->pool, thread->lane, &stopping))) {
        request->reader = thread->reader;
        if (pool_is_in_vain(request))
            pool_abandon(request);
        else if (stopping)
            pool_refuse(request);
        else if (request->work(request) == REQUEST_DONE)
            request_finish(request);
    }
    return NULL;
}

/* ---- start and stop ---- */

static int pool_start_thread(struct pool *pool, struct db *db, struct pool_lane *lane,
                             struct err *err)
{
    struct pool_thread *thread = &pool->threads[pool->n_threads];
    thread->pool = pool;
    thread->lane = lane;
    if (db_reader_open(db, &thread->reader, err))
        return -1;
    if (pthread_create(&thread->thread, NULL, pool_run, thread)) {
        db_reader_close(thread->reader);
        return err_set_errno(err, ERR_IO, "cannot start a pool thread");
    }
    pool->n_threads++;
    return 0;
}

int pool_start(struct db *db, int light_threads, int heavy_threads, struct pool **out,
               struct err *err)
{
    struct pool *pool = calloc(1, sizeof *pool);
    const int n = light_threads + heavy_threads;
    if (pool)
        pool->threads = calloc((size_t)n, sizeof *pool->threads);
    if (!pool || !pool->threads) {
        free(pool);
        return err_set(err, ERR_NO_MEMORY, "no memory for the pool");
    }
    pthread_mutex_init(&pool->mutex, NULL);
    for (int i = 0; i < POOL_LANES; i++)
        pthread_cond_init(&pool->lanes[i].came, NULL);
    for (int i = 0; i < n; i++)
        if (pool_start_thread(pool, db, &pool->lanes[i < light_threads ? POOL_LIGHT : POOL_HEAVY],
                              err)) {
            pool_stop(pool);
            pool_free(pool);
            return -1;
        }
    *out = pool;
    return 0;
}

void pool_stop(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = 1;
    for (int i = 0; i < POOL_LANES; i++)
        pthread_cond_broadcast(&pool->lanes[i].came);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->n_threads; i++) {
        pthread_join(pool->threads[i].thread, NULL);
        db_reader_close(pool->threads[i].reader);
    }
}

/* All requests have ended (http_stop), so there are no clients any more. */
void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (int i = 0; i < POOL_LANES; i++)
        pthread_cond_destroy(&pool->lanes[i].came);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}
