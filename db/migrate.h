/* migrate: brings a file to the present schema, or refuses it. The number of
 * migrations applied is PRAGMA user_version; PRAGMA application_id says that the
 * file is ours. A foreign or newer file is left untouched, byte for byte. Called
 * by db_open before any other thread knows the connection. */
#ifndef TOKENFATE_MIGRATE_H
#define TOKENFATE_MIGRATE_H

#include "config/err.h"
#include "db/connection.h"

enum { MIGRATE_APPLICATION_ID = 0x74666174 }; /* "tfat" */

/* Apply what is missing, all in one transaction. ERR_CORRUPT for a file that is
 * not a tokenfate database or was written by a newer program. */
int migrate(struct connection *connection, struct err *err);

/* 0 if the file has the present schema, else ERR_CORRUPT. Writes nothing. */
int migrate_check(struct connection *connection, struct err *err);

#endif
