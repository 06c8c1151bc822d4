/* pool: worker threads for the handlers of slow routes (ROUTE_SLOW). http.c pushes parked
 * requests on the HTTP thread; serve.c starts and stops the pool on the main thread.
 *
 * The HTTP thread must not wait for a file, a tokenizer or a long answer, so these handlers
 * run here. Each thread has a database reader of its own. A pool thread owns a request from
 * the moment it takes it from the queue until request_finish. The queue is bounded: when it is
 * full, the client gets 503 with Retry-After. */
#ifndef TOKENFATE_POOL_H
#define TOKENFATE_POOL_H

#include "config/err.h"
#include "db/db.h"

struct pool;
struct request;

enum {
    POOL_WAITING_MAX = 256 /* requests waiting for a thread */
};

int pool_start(struct db *db, int n_threads, struct pool **out, struct err *err);

/* Queue a parked request for its route's handler. -1 if the queue is full or the pool is
 * stopping; then the caller still owns the request. */
int pool_push(struct pool *pool, struct request *request);

/* Let running handlers end, answer waiting requests with 503, join the threads, free the
 * pool. Nothing may be pushed from then on: server->stopping has been set. NULL is fine. */
void pool_stop(struct pool *pool);
/* After http_stop: until then the HTTP thread may still push, and is refused. NULL is fine. */
void pool_free(struct pool *pool);

#endif
