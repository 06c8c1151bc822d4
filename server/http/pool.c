/* pool: see pool.h. The waiting requests are a ring buffer. The mutex guards the ring (waiting,
 * first, n) and `stopping`; it is not held while a handler runs. `threads` and `n_threads`
 * belong to the thread that starts and stops the pool. */
#include "server/http/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "server/http/request.h"
#include "server/http/route.h"

struct pool_thread {
    struct pool *pool;
    struct db_reader *reader;
    pthread_t thread;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t came;
    struct request *waiting[POOL_WAITING_MAX];
    unsigned first, n;
    int stopping, n_threads;
    struct pool_thread *threads;
};

/* Next request; NULL once the pool is stopping and the ring is empty. So every request that
 * was pushed is answered. */
static struct request *pool_take(struct pool *pool, int *stopping)
{
    struct request *request = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->n && !pool->stopping)
        pthread_cond_wait(&pool->came, &pool->mutex);
    if (pool->n) {
        request = pool->waiting[pool->first];
        pool->first = (pool->first + 1) % POOL_WAITING_MAX;
        pool->n--;
    }
    *stopping = pool->stopping;
    pthread_mutex_unlock(&pool->mutex);
    return request;
}

static enum request_result pool_refuse(struct request *request)
{
    err_set(&request->err, ERR_UNAVAILABLE, "the server is stopping");
    return request_fail(request, &request->err);
}

static void *pool_run(void *self)
{
    struct pool_thread *thread = self;
    struct request *request;
    int stopping = 0;
    while ((request = pool_take(thread->pool, &stopping))) {
        request->reader = thread->reader;
        enum request_result result =
            stopping ? pool_refuse(request) : request->route->handler(request);
        if (result == REQUEST_DONE)
            request_finish(request);
    }
    return NULL;
}

int pool_start(struct db *db, int n_threads, struct pool **out, struct err *err)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool)
        pool->threads = calloc((size_t)n_threads, sizeof *pool->threads);
    if (!pool || !pool->threads) {
        free(pool);
        return err_set(err, ERR_NO_MEMORY, "no memory for the pool");
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->came, NULL);
    for (int i = 0; i < n_threads; i++) {
        struct pool_thread *thread = &pool->threads[i];
        thread->pool = pool;
        if (db_reader_open(db, &thread->reader, err))
            goto out;
        if (pthread_create(&thread->thread, NULL, pool_run, thread)) {
            db_reader_close(thread->reader);
            err_set_errno(err, ERR_IO, "cannot start a pool thread");
            goto out;
        }
        pool->n_threads++;
    }
    *out = pool;
    return 0;
out:
    pool_stop(pool);
    pool_free(pool);
    return -1;
}

int pool_push(struct pool *pool, struct request *request)
{
    int result = -1;
    pthread_mutex_lock(&pool->mutex);
    if (pool->n < POOL_WAITING_MAX && !pool->stopping) {
        pool->waiting[(pool->first + pool->n++) % POOL_WAITING_MAX] = request;
        pthread_cond_signal(&pool->came);
        result = 0;
    }
    pthread_mutex_unlock(&pool->mutex);
    return result;
}

void pool_stop(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = 1;
    pthread_cond_broadcast(&pool->came);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->n_threads; i++) {
        pthread_join(pool->threads[i].thread, NULL);
        db_reader_close(pool->threads[i].reader);
    }
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_cond_destroy(&pool->came);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}
