/* migrate: see migrate.h. The assembler embeds each file of db/schema as a symbol
 * (.incbin), so that an installed program needs no schema files. */
#include "db/migrate.h"

#include <stdio.h>

/* Paths are relative to the root of the source tree, where the compiler runs. */
#define MIGRATION(symbol, path)                                                                    \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.popsection\n");   \
    extern const char symbol[] __attribute__((visibility("hidden")))

MIGRATION(migrate_0001_initial, "db/schema/0001_initial.sql");
MIGRATION(migrate_0002_sweeps, "db/schema/0002_sweeps.sql");
MIGRATION(migrate_0003_deletions, "db/schema/0003_deletions.sql");
MIGRATION(migrate_0004_unread, "db/schema/0004_unread.sql");
MIGRATION(migrate_0005_shuffle_offset, "db/schema/0005_shuffle_offset.sql");
MIGRATION(migrate_0006_search, "db/schema/0006_search.sql");
MIGRATION(migrate_0007_history, "db/schema/0007_history.sql");
MIGRATION(migrate_0008_job_texts_corpus, "db/schema/0008_job_texts_corpus.sql");
MIGRATION(migrate_0009_fair, "db/schema/0009_fair.sql");
MIGRATION(migrate_0010_proofs, "db/schema/0010_proofs.sql");
MIGRATION(migrate_0011_reasons, "db/schema/0011_reasons.sql");
MIGRATION(migrate_0012_usage, "db/schema/0012_usage.sql");
MIGRATION(migrate_0013_bindings, "db/schema/0013_bindings.sql");
MIGRATION(migrate_0014_limits, "db/schema/0014_limits.sql");
MIGRATION(migrate_0015_after, "db/schema/0015_after.sql");
MIGRATION(migrate_0016_max_running, "db/schema/0016_max_running.sql");
MIGRATION(migrate_0017_retention, "db/schema/0017_retention.sql");
MIGRATION(migrate_0018_shortages, "db/schema/0018_shortages.sql");
MIGRATION(migrate_0019_init_from, "db/schema/0019_init_from.sql");
MIGRATION(migrate_0020_notify, "db/schema/0020_notify.sql");
MIGRATION(migrate_0021_record_every, "db/schema/0021_record_every.sql");
MIGRATION(migrate_0022_step_times, "db/schema/0022_step_times.sql");

static const char *const migrations[] = {
    migrate_0001_initial,     migrate_0002_sweeps,           migrate_0003_deletions,
    migrate_0004_unread,      migrate_0005_shuffle_offset,   migrate_0006_search,
    migrate_0007_history,     migrate_0008_job_texts_corpus, migrate_0009_fair,
    migrate_0010_proofs,      migrate_0011_reasons,          migrate_0012_usage,
    migrate_0013_bindings,    migrate_0014_limits,           migrate_0015_after,
    migrate_0016_max_running, migrate_0017_retention,        migrate_0018_shortages,
    migrate_0019_init_from,   migrate_0020_notify,           migrate_0021_record_every,
    migrate_0022_step_times};
enum { MIGRATIONS = sizeof migrations / sizeof *migrations };

/* ERR_CORRUPT unless the file is empty or a tokenfate database of a known version.
 * *version: number of migrations that it has. */
static int migrate_identify(struct connection *connection, int64_t *version, struct err *err)
{
    int64_t application, objects;
    if (connection_integer(connection, "PRAGMA application_id", NO_VALUES, 0, &application, err) <
            0 ||
        connection_integer(connection, "PRAGMA user_version", NO_VALUES, 0, version, err) < 0 ||
        connection_integer(connection, "SELECT count(*) FROM sqlite_schema", NO_VALUES, 0, &objects,
                           err) < 0)
        return -1;
    int empty = application == 0 && *version == 0 && objects == 0;
    if (!empty && application != MIGRATE_APPLICATION_ID)
        return err_set(err, ERR_CORRUPT,
                       "this is not a tokenfate database (application id %lld, %lld objects)",
                       (long long)application, (long long)objects);
    if (*version > MIGRATIONS)
        return err_set(err, ERR_CORRUPT,
                       "the database has schema %lld, this program knows %d: install the newer "
                       "program again",
                       (long long)*version, MIGRATIONS);
    return 0;
}

static int migrate_scripts(struct connection *connection, int64_t version, struct err *err)
{
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             MIGRATE_APPLICATION_ID, MIGRATIONS);
    for (int64_t i = version; i < MIGRATIONS; i++)
        if (connection_script(connection, migrations[i], err) < 0)
            return err_prefix(err, "migration %lld", (long long)i + 1);
    return connection_script(connection, pragmas, err);
}

/* SQLite's defensive mode refuses PRAGMA writable_schema, which 0003 needs. */
static int migrate_apply(struct connection *connection, int64_t version, struct err *err)
{
    sqlite3_db_config(connection->handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    int result = migrate_scripts(connection, version, err);
    sqlite3_db_config(connection->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return result;
}

/* A new file gets incremental vacuum, which has to be chosen before its first page is
 * written, and the switch to WAL writes one. */
static int migrate_begin(struct connection *connection, int is_new, struct err *err)
{
    if (is_new && connection_script(connection, "PRAGMA auto_vacuum = INCREMENTAL;", err) < 0)
        return -1;
    return connection_script(connection, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;", err);
}

int migrate(struct connection *connection, struct err *err)
{
    int64_t version;
    /* The first check runs before anything is written: the switch to WAL would
     * already change a foreign file. The second check decides, because only the
     * lock excludes another program that migrates the file. */
    if (migrate_identify(connection, &version, err) < 0 ||
        migrate_begin(connection, version == 0, err) < 0)
        return -1;
    int result = migrate_identify(connection, &version, err);
    if (result == 0 && version < MIGRATIONS)
        result = migrate_apply(connection, version, err);
    if (result == 0)
        result = connection_script(connection, "COMMIT", err);
    if (result < 0)
        connection_script(connection, "ROLLBACK", NULL);
    return result;
}

int migrate_check(struct connection *connection, struct err *err)
{
    int64_t version;
    if (migrate_identify(connection, &version, err) < 0)
        return -1;
    if (version != MIGRATIONS)
        return err_set(err, ERR_CORRUPT, "the database has schema %lld, this program knows %d",
                       (long long)version, MIGRATIONS);
    return 0;
}
