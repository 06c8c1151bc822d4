/* deletions: rows that are deleted for every reader and still stored. The rows of a
 * long job cannot go in one transaction, because the only writer would be held for
 * seconds. DELETE and restart therefore detach the records and events of a job with
 * one row in `deletions`; housekeeping.c removes the detached rows step by step.
 *
 * Invariant: a set of records belongs to one row of jobs or of deletions. events_read
 * leaves out the events that a row of deletions covers. A row of deletions goes in
 * the transaction that finds nothing left of it, so a crash at any point loses no
 * work and the next start goes on. */
#ifndef TOKENFATE_DELETIONS_H
#define TOKENFATE_DELETIONS_H

#include "config/err.h"
#include "db/connection.h"

/* Detach the records of a job and its events so far: all of them, or the `epoch`
 * events only. The caller then deletes the job or gives it another set of records in
 * the same transaction. Writer thread. */
enum deletions_events { DELETIONS_ALL_EVENTS, DELETIONS_EPOCH_EVENTS };
int deletions_add(struct db_writer *writer, const char *job, enum deletions_events events,
                  struct err *err);

/* Remove at most DELETIONS_ROWS detached rows, inside the caller's transaction.
 * 1 = there may be more, 0 = nothing is left. */
int deletions_step(struct connection *connection, struct err *err);

#endif
