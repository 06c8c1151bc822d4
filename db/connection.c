/* connection: see connection.h. One table maps SQLite's result codes to ours.
 * Extended codes stand before their primary codes, because the first match is
 * taken. Errors that pass with time or with free space are ERR_UNAVAILABLE,
 * failures of the disk ERR_IO, damaged contents of the file ERR_CORRUPT. */
#include "db/connection.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/fold.h"

/* The writer's page cache, 16 MiB: it holds the pages that one step of housekeeping
 * changes. SQLite's 2 MB would spill them into the WAL before the COMMIT. */
static const char connection_cache[] = "PRAGMA cache_size = -16384";

static const struct {
    int result;
    enum err_code code;
    const char *hint;
} connection_errors[] = {
    {SQLITE_FULL, ERR_UNAVAILABLE, "the disk is full, nothing was stored"},
    {SQLITE_IOERR_SHMSIZE, ERR_UNAVAILABLE, "the disk has no room for the database's index"},
    {SQLITE_BUSY, ERR_UNAVAILABLE, "another program holds the database"},
    {SQLITE_LOCKED, ERR_UNAVAILABLE, "the database is locked"},
    {SQLITE_READONLY, ERR_UNAVAILABLE, "the database cannot be written"},
    {SQLITE_IOERR, ERR_IO, "the disk failed"},
    {SQLITE_CANTOPEN, ERR_IO, "a database file cannot be opened"},
    {SQLITE_PERM, ERR_IO, "the database cannot be opened"},
    {SQLITE_AUTH, ERR_IO, "the database cannot be opened"},
    {SQLITE_NOMEM, ERR_NO_MEMORY, "the database has no memory"},
    {SQLITE_TOOBIG, ERR_TOO_LARGE, "a text is too large for the database"},
    {SQLITE_CORRUPT, ERR_CORRUPT, "the database is damaged"},
    {SQLITE_NOTADB, ERR_CORRUPT, "this is not a tokenfate database"},
    {SQLITE_CONSTRAINT, ERR_CONFLICT, "the database refuses the row"},
};

/* Set *err from the handle's last error. Returns -1. */
static int connection_error(sqlite3 *handle, struct err *err)
{
    int result = sqlite3_errcode(handle);
    for (size_t i = 0; i < sizeof connection_errors / sizeof *connection_errors; i++)
        if (connection_errors[i].result == result || connection_errors[i].result == (result & 0xff))
            return err_set(err, connection_errors[i].code, "%s: %s", connection_errors[i].hint,
                           sqlite3_errmsg(handle));
    return err_set(err, ERR_INTERNAL, "database: %s (%d)", sqlite3_errmsg(handle), result);
}

struct value value_text(const char *text)
{
    return (struct value){.type = VALUE_TEXT, .bytes = text, .n = text ? strlen(text) : 0};
}

struct value value_integer(int64_t integer)
{
    return (struct value){.type = VALUE_INTEGER, .integer = integer};
}

struct value value_real(double real)
{
    return (struct value){.type = VALUE_REAL, .real = real};
}

struct value value_blob(const void *bytes, size_t n)
{
    return (struct value){.type = VALUE_BLOB, .bytes = bytes, .n = n};
}

static int value_bind(sqlite3_stmt *statement, int index, const struct value *value)
{
    switch (value->type) {
    case VALUE_TEXT:
        return sqlite3_bind_text64(statement, index, value->bytes, value->n, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case VALUE_INTEGER:
        return sqlite3_bind_int64(statement, index, value->integer);
    case VALUE_REAL:
        if (!isfinite(value->real))
            return sqlite3_bind_null(statement, index);
        return sqlite3_bind_double(statement, index, value->real);
    case VALUE_BLOB:
        if (value->n == 0)
            return sqlite3_bind_zeroblob(statement, index, 0);
        return sqlite3_bind_blob64(statement, index, value->bytes, value->n, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

int connection_open(struct connection *connection, const char *path, int read_only, struct err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    struct connection opened = {.handle = NULL};
    if (sqlite3_open_v2(path, &opened.handle, flags, NULL) != SQLITE_OK) {
        if (opened.handle)
            connection_error(opened.handle, err);
        else
            err_set(err, ERR_NO_MEMORY, "no memory for a database connection");
        goto failed;
    }
    sqlite3_busy_timeout(opened.handle, CONNECTION_BUSY_MS);
    sqlite3_db_config(opened.handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (fold_register(opened.handle) != SQLITE_OK) {
        connection_error(opened.handle, err);
        goto failed;
    }
    if (connection_script(&opened,
                          "PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST;"
                          "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;",
                          err) < 0 ||
        (!read_only && connection_script(&opened, connection_cache, err) < 0))
        goto failed;
    *connection = opened;
    return 0;

failed:
    sqlite3_close_v2(opened.handle);
    return err_prefix(err, "%s", path);
}

void connection_close(struct connection *connection)
{
    for (int i = 0; i < connection->n; i++)
        sqlite3_finalize(connection->prepared[i].statement);
    connection->n = 0;
    sqlite3_close_v2(connection->handle);
    connection->handle = NULL;
}

static int connection_prepare(struct connection *connection, const char *sql, sqlite3_stmt **out,
                              struct err *err)
{
    for (int i = 0; i < connection->n; i++)
        if (connection->prepared[i].sql == sql) {
            *out = connection->prepared[i].statement;
            return 0;
        }
    assert(connection->n < CONNECTION_STATEMENTS_MAX);
    if (sqlite3_prepare_v3(connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) !=
        SQLITE_OK)
        return connection_error(connection->handle, err);
    connection->prepared[connection->n].sql = sql;
    connection->prepared[connection->n++].statement = *out;
    return 0;
}

int connection_start(struct connection *connection, const char *sql, const struct value *values,
                     int n, sqlite3_stmt **out, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (connection_prepare(connection, sql, &statement, err) < 0)
        return -1;
    assert(!sqlite3_stmt_busy(statement));
    int wanted = sqlite3_bind_parameter_count(statement);
    assert(wanted <= n);
    for (int i = 0; i < wanted; i++)
        if (value_bind(statement, i + 1, &values[i]) != SQLITE_OK) {
            connection_error(connection->handle, err);
            statement_close(statement);
            return -1;
        }
    *out = statement;
    return 0;
}

int statement_step(sqlite3_stmt *statement, struct err *err)
{
    switch (sqlite3_step(statement)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return connection_error(sqlite3_db_handle(statement), err);
    }
}

void statement_close(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

int connection_run(struct connection *connection, const char *sql, const struct value *values,
                   int n, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql, values, n, &statement, err) < 0)
        return -1;
    int result;
    do
        result = statement_step(statement, err);
    while (result > 0);
    statement_close(statement);
    return result;
}

int connection_integer(struct connection *connection, const char *sql, const struct value *values,
                       int n, int64_t none, int64_t *out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql, values, n, &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result >= 0)
        *out = result > 0 ? sqlite3_column_int64(statement, 0) : none;
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

int64_t connection_changes(const struct connection *connection)
{
    return sqlite3_changes64(connection->handle);
}

int connection_script(struct connection *connection, const char *sql, struct err *err)
{
    if (sqlite3_exec(connection->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return connection_error(connection->handle, err);
    return 0;
}

int column_text(sqlite3_stmt *statement, int column, char **out, struct err *err)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    if (!text) {
        *out = NULL;
        if (sqlite3_column_type(statement, column) == SQLITE_NULL)
            return 0;
        return err_set(err, ERR_NO_MEMORY, "no memory for a text of the database");
    }
    *out = strdup((const char *)text);
    return *out ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for a text of the database");
}

void column_copy(sqlite3_stmt *statement, int column, char *out, size_t n)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    size_t length = text ? (size_t)sqlite3_column_bytes(statement, column) : 0;
    if (length >= n)
        length = n - 1;
    if (length)
        memcpy(out, text, length);
    out[length] = '\0';
}
