/* scheduler: the thread that hands queued jobs to idle slots, lets running ones give way, and
 * puts on a board what tells why others wait. workers.c starts and stops it. No other thread hands over
 * jobs.
 *
 * Decisions are made elsewhere:
 * - Order between users, and who gives way: fair.h.
 * - Order of one user's jobs: job_queue (db/jobs.h).
 * - Choice of a device: placement.h.
 * - Retry after a fault: job_finish (db/jobs.h); a job that runs again is simply queued. */
#ifndef TOKENFATE_SCHEDULER_H
#define TOKENFATE_SCHEDULER_H

#include "config/err.h"
#include "server/queue/board.h"
#include "server/queue/slot.h"

struct scheduler;

/* Start the thread; the slots of the set have been started. ERR_NO_MEMORY, ERR_UNAVAILABLE, or
 * an error of the database. */
int scheduler_start(struct slot_set *set, struct scheduler **out, struct err *err);
/* For readers on any thread; empty before the first pass. */
struct board *scheduler_board(struct scheduler *scheduler);
/* Join the thread, which ends when the set is stopping and has been woken. NULL is fine. */
void scheduler_stop(struct scheduler *scheduler);

#endif
