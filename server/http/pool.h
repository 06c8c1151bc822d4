/* pool: worker threads for the handlers of slow routes (ROUTE_SLOW). http.c pushes parked
 * requests on the HTTP thread; serve.c starts and stops the pool on the main thread.
 *
 * The HTTP thread must not wait for a file, a tokenizer or a long answer, so these handlers
 * run here. Each thread has a database reader of its own.
 *
 * Lanes: heavy routes (ROUTE_HEAVY) have threads and a queue of their own, so a light request
 * never waits behind a heavy one.
 *
 * Turns: inside a lane the clients (client.h) that have waiting requests take turns, one
 * request each; the requests of one client stay in their order. A large answer is made in
 * pieces, and each piece takes a turn (large_reply.h). So the wait for a turn depends on the
 * number of clients, and not on the number of requests of one of them.
 *
 * Bounds: POOL_WAITING_MAX requests wait in a lane, else 503. Of one client
 * POOL_HEAVY_PER_CLIENT heavy requests are under way, from pool_push to pool_leave, else 429.
 * Both come with Retry-After. Requests whose clients have left make room.
 *
 * Ownership: the queue owns a request from pool_push on; a thread takes it over with its turn
 * and gives it back with request_finish. A heavy GET whose client has left is given back
 * without an answer (request->abandoned). */
#ifndef TOKENFATE_POOL_H
#define TOKENFATE_POOL_H

#include "config/err.h"
#include "db/db.h"

struct pool;
struct request;

enum {
    POOL_WAITING_MAX = 256,    /* requests that wait for a thread of a lane */
    POOL_HEAVY_PER_CLIENT = 64 /* each keeps up to a piece of its answer in memory */
};

int pool_start(struct db *db, int light_threads, int heavy_threads, struct pool **out,
               struct err *err);

/* Queue a parked request for its work (request->work). ERR_TOO_MANY, ERR_UNAVAILABLE: beyond
 * the bounds, or the pool is stopping; then the caller still owns the request. HTTP thread. */
int pool_push(struct pool *pool, struct request *request, struct err *err);

/* Queue a request again, for the next piece of an answer that has begun: no bound refuses it.
 * -1 if the pool is stopping; then the caller still owns the request. HTTP thread. */
int pool_push_again(struct pool *pool, struct request *request);

/* The request that was pushed has ended. HTTP thread, which owns it. */
void pool_leave(struct pool *pool, struct request *request);

/* Let running handlers end, answer waiting requests with 503, abandon begun answers, join the
 * threads. Nothing may be pushed from then on: server->stopping has been set. NULL is fine. */
void pool_stop(struct pool *pool);
/* After http_stop: until then the HTTP thread may still push, and is refused. NULL is fine. */
void pool_free(struct pool *pool);

#endif
