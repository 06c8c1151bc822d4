/* shortages: see shortages.h. */
#include "db/shortages.h"

#include "db/connection.h"

static const char sql_add[] =
    "UPDATE jobs SET shortages = shortages + 1,"
    " memory_bytes = max(memory_bytes, ?2, iif(?3 > 0, min(?2 * 5 / 4, ?3), ?2 * 5 / 4))"
    " WHERE id = ?1";
static const char sql_times[] = "SELECT shortages FROM jobs WHERE id = ?1";
static const char sql_bytes[] = "SELECT memory_bytes FROM jobs WHERE id = ?1";
static const char sql_clear[] = "UPDATE jobs SET shortages = 0 WHERE id = ?1 AND shortages > 0";

int shortages_add(struct db_writer *writer, const char *id, int64_t reserved, int64_t most,
                  int64_t *times, int64_t *bytes, struct err *err)
{
    const struct value name = value_text(id);
    if (connection_run(&writer->connection, sql_add,
                       VALUES(name, value_integer(reserved), value_integer(most)), err) < 0 ||
        connection_integer(&writer->connection, sql_times, VALUES(name), 0, times, err) < 0)
        return -1;
    return connection_integer(&writer->connection, sql_bytes, VALUES(name), 0, bytes, err);
}

int shortages_clear(struct db_writer *writer, const char *id, struct err *err)
{
    return connection_run(&writer->connection, sql_clear, VALUES(value_text(id)), err);
}
