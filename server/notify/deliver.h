/* deliver: the thread that sends stored messages (db/notify.h). serve.c starts and stops it.
 *
 * A message is sent by POST until it is answered with 2xx: after 5 seconds, then after four times
 * as long each time, at most an hour, and it is given up after a day. It is stored until then, so it
 * survives a crash; one that is answered just before a crash is sent again, with the same id. One
 * message is under way at a time; an address that fails holds its own messages back alone.
 *
 * Headers: Tokenfate-Id; and if the user has a secret Tokenfate-Timestamp (seconds since 1970) and
 * Tokenfate-Signature, "sha256=" and the hex HMAC-SHA256 of timestamp, a dot and the body.
 *
 * Redirects are not followed, no proxy is used, and reach.h says which addresses are connected to. */
#ifndef TOKENFATE_NOTIFY_DELIVER_H
#define TOKENFATE_NOTIFY_DELIVER_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"

struct deliver;

int deliver_start(const struct settings *settings, struct db *db, struct deliver **out,
                  struct err *err);
/* End the thread; a message that is under way is sent again by the next start. NULL: nothing. */
void deliver_stop(struct deliver *deliver);

#endif
