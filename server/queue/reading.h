/* reading: the thread that has texts read and then admits the jobs that wait for them. A text
 * is read by a trainer process that ends afterwards: its memory (the text, its tokens, its
 * words) is never the server's, it runs at the lowest priority, and a text that costs a process
 * costs no more.
 *
 * A job whose text was not read when it was submitted is `unread`: the scheduler does not see
 * it. This thread checks it against the text as soon as the text is read, fills in its groups
 * and memory, and hands it to the queue; or it ends the job as failed, with the fields of the
 * spec that are to blame. serve.c starts and stops it. */
#ifndef TOKENFATE_READING_H
#define TOKENFATE_READING_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"
#include "server/datasets.h"
#include "server/queue/workers.h"

struct reading;

/* All are borrowed until reading_stop. workers: is woken for admitted jobs. */
int reading_start(const struct settings *settings, struct db *db, struct datasets *datasets,
                  struct workers *workers, struct reading **out, struct err *err);

/* There may be unread jobs. Call it after the commit. */
void reading_wake(struct reading *reading);

/* End the thread. A text that is being read is left; it is read again after the next start if a
 * job still needs it. NULL is fine. */
void reading_stop(struct reading *reading);

#endif
