/* migrate: brings a database file to the present schema, or refuses it. PRAGMA
 * user_version is the number of migrations applied; PRAGMA application_id marks a
 * tokenfate database. A foreign or newer file is not changed by a single byte.
 * db_open calls it before the writer thread starts. */
#ifndef TOKENFATE_MIGRATE_H
#define TOKENFATE_MIGRATE_H

#include "config/err.h"
#include "db/connection.h"

enum { MIGRATE_APPLICATION_ID = 0x74666174 }; /* "tfat" */

/* Apply the missing migrations in one transaction. ERR_CORRUPT for a file that is
 * not a tokenfate database or has a newer schema. */
int migrate(struct connection *connection, struct err *err);

/* ERR_CORRUPT if the file does not have the present schema. Writes nothing. */
int migrate_check(struct connection *connection, struct err *err);

#endif
