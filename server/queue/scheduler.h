/* scheduler: the thread that reads the queue, hands jobs to idle slots and stores why the
 * others wait. It alone decides. Where a job may run is placement.h's decision; the order
 * of the queue is that of job_queue (db/jobs.h). */
#ifndef TOKENFATE_SCHEDULER_H
#define TOKENFATE_SCHEDULER_H

#include "config/err.h"
#include "server/queue/slot.h"

struct scheduler;

/* The set's slots have been started. ERR_NO_MEMORY, ERR_UNAVAILABLE. */
int scheduler_start(struct slot_set *set, struct scheduler **out, struct err *err);
/* Join the thread, which ends when the set is stopping and has been woken. NULL is fine. */
void scheduler_stop(struct scheduler *scheduler);

#endif
