/* compact: see compact.h. */
#include "db/compact.h"

#include <errno.h>
#include <unistd.h>

#include "db/connection.h"
#include "db/deletions.h"
#include "db/migrate.h"

/* Each statement commits by itself: nobody waits for the writer here, and what is done
 * stays done after a crash. */
static int compact_delete(struct connection *connection, struct err *err)
{
    int more;
    do
        more = deletions_step(connection, err);
    while (more > 0);
    return more;
}

/* VACUUM writes the new file through the WAL, which is then copied into the database
 * and truncated. */
static int compact_rewrite(struct connection *connection, struct err *err)
{
    return connection_script(connection,
                             "PRAGMA auto_vacuum = INCREMENTAL; VACUUM;"
                             "PRAGMA wal_checkpoint(TRUNCATE);",
                             err);
}

int compact(const char *path, struct err *err)
{
    struct connection connection = {.handle = NULL};
    if (access(path, F_OK) < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    if (connection_open(&connection, path, 0, err) < 0)
        return -1;
    int failed = migrate(&connection, err) < 0 || compact_delete(&connection, err) < 0 ||
                 compact_rewrite(&connection, err) < 0;
    connection_close(&connection);
    return failed ? err_prefix(err, "%s", path) : 0;
}
