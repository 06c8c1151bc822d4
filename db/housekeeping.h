/* housekeeping: what the writer does when no operation waits: remove detached rows
 * (deletions.h), give free pages back to the file system, truncate the WAL. Under a load
 * that never pauses it has a small share of the time for the first two.
 *
 * It runs on the writer thread, on the writer's connection: a thread of its own would
 * need a second connection that writes (db.h, one-writer invariant). Each step is one
 * short transaction, and ends early when an operation arrives. The stages follow each
 * other; all state is in the file, so a start after a crash begins with the first one
 * and goes on. */
#ifndef TOKENFATE_HOUSEKEEPING_H
#define TOKENFATE_HOUSEKEEPING_H

#include <stdint.h>

#include "config/err.h"
#include "db/connection.h"

enum housekeeping_stage {
    HOUSEKEEPING_DELETE,
    HOUSEKEEPING_SHRINK,
    HOUSEKEEPING_CHECKPOINT,
    HOUSEKEEPING_DONE
};

struct housekeeping {
    enum housekeeping_stage stage;
    int64_t due_ms;  /* of the stage's next step, clock_monotonic_ms; not of DONE */
    int64_t owed_ms; /* from then on a step does not wait for a pause */
};

/* Begin with the first stage, due at once: at the start, and after a commit that
 * detached rows. */
void housekeeping_begin(struct housekeeping *housekeeping);

/* An operation was committed: the next step waits for its pause, and the WAL is
 * truncated once the database has been idle. */
void housekeeping_written(struct housekeeping *housekeeping);

/* Milliseconds until a step is due: 0 = now, -1 = nothing is to be done. */
int64_t housekeeping_wait_ms(const struct housekeeping *housekeeping);

/* 1 = a step is to be done although operations wait: rows or pages are left, and the last
 * step is HOUSEKEEPING_SHARE_MS ago. */
int housekeeping_is_owed(const struct housekeeping *housekeeping);

/* Do one step. is_asked(self) tells that an operation waits. On an error the step is
 * rolled back and is due again after a pause. */
int housekeeping_step(struct housekeeping *housekeeping, struct connection *connection,
                      int (*is_asked)(void *self), void *self, struct err *err);

#endif
