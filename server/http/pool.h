/* pool: a few threads that run the handlers of slow routes, each with its own
 * database reader, so that the HTTP thread never waits for a file, a tokenizer
 * or a long answer. Bounded: when too many wait, the client is told to come
 * back. */
#ifndef TOKENFATE_POOL_H
#define TOKENFATE_POOL_H

#include "config/err.h"
#include "db/db.h"

struct pool;
struct request;

enum {
    POOL_WAITING_MAX = 256 /* requests that wait for a thread */
};

int pool_start(struct db *db, int n_threads, struct pool **out, struct err *err);

/* A parked request, to be run by its route's handler. -1 when full. */
int pool_push(struct pool *pool, struct request *request);

/* Finishes what is being worked on, refuses what waits, joins the threads. */
void pool_stop(struct pool *pool);

#endif
