/* corpora: see corpora.h. One row for each pair of name and text; the row with the
 * largest seq is the text that the name stands for. */
#include "db/corpora.h"

#include <string.h>

#include "db/connection.h"

static const char sql_remove[] = "DELETE FROM corpora WHERE name = ?1 AND sha256 = ?2";
static const char sql_insert[] = "INSERT INTO corpora (sha256, name, bytes, user, created_at)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5)";
#define COLUMNS "SELECT sha256, name, bytes, created_at, user FROM corpora"
/* NOCASE folds the ASCII letters, as text_name_same does. Databases of older versions may
 * hold two spellings of a name: the exact one takes precedence. */
static const char sql_newest[] =
    COLUMNS " WHERE name = ?1 COLLATE NOCASE ORDER BY name = ?1 DESC, seq DESC LIMIT 1";
/* An address takes precedence over a name that looks like an address. */
static const char sql_get[] = COLUMNS " WHERE sha256 = ?1 OR name = ?1 COLLATE NOCASE"
                                      " ORDER BY sha256 = ?1 DESC, name = ?1 DESC, seq DESC"
                                      " LIMIT 1";
static const char sql_list[] = COLUMNS " ORDER BY seq DESC";

static void corpus_fill(sqlite3_stmt *row, struct corpus *corpus)
{
    column_copy(row, 0, corpus->sha256, sizeof corpus->sha256);
    column_copy(row, 1, corpus->name, sizeof corpus->name);
    corpus->bytes = sqlite3_column_int64(row, 2);
    corpus->created_at = sqlite3_column_int64(row, 3);
    column_copy(row, 4, corpus->user, sizeof corpus->user);
}

/* 1 and *out if there is a row, 0 if there is none. */
static int corpus_find(struct connection *connection, const char *sql, const char *id,
                       struct corpus *out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        corpus_fill(statement, out);
    statement_close(statement);
    return found;
}

/* May the name of `present` be given to the text of `corpus`? */
static int corpus_may_replace(const struct corpus *present, const struct corpus *corpus,
                              enum corpus_replace replace, struct err *err)
{
    if (replace == CORPUS_REPLACE_NONE)
        return err_set(err, ERR_CONFLICT,
                       "the name \"%s\" stands for another text, sha256 %s of %s; replace=true "
                       "gives it to this one",
                       present->name, present->sha256, present->user);
    if (replace == CORPUS_REPLACE_OWN && strcmp(present->user, corpus->user) != 0)
        return err_set(err, ERR_FORBIDDEN,
                       "the name \"%s\" belongs to %s, and %s is not an administrator",
                       present->name, present->user, corpus->user);
    return 0;
}

int corpus_insert(struct db_writer *writer, const struct corpus *corpus,
                  enum corpus_replace replace, int *created, struct err *err)
{
    struct connection *connection = &writer->connection;
    struct corpus present;
    const int taken = corpus_find(connection, sql_newest, corpus->name, &present, err);
    if (taken < 0)
        return -1;
    if (taken && strcmp(present.sha256, corpus->sha256) == 0) {
        *created = 0;
        return 0;
    }
    if (taken && corpus_may_replace(&present, corpus, replace, err) < 0)
        return -1;
    struct value name = value_text(taken ? present.name : corpus->name),
                 sha256 = value_text(corpus->sha256);
    /* A text that had this name before gets a new seq and becomes its newest. */
    if (connection_run(connection, sql_remove, VALUES(name, sha256), err) < 0 ||
        connection_run(connection, sql_insert,
                       VALUES(sha256, name, value_integer(corpus->bytes), value_text(corpus->user),
                              value_integer(db_now())),
                       err) < 0)
        return -1;
    *created = 1;
    return 0;
}

int corpus_get(struct db_reader *reader, const char *id, struct corpus *out, struct err *err)
{
    const int found = corpus_find(&reader->connection, sql_get, id, out, err);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no text \"%.100s\"", id);
    return found < 0 ? -1 : 0;
}

int corpus_list(struct db_reader *reader, corpus_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_list, NO_VALUES, &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct corpus corpus;
        corpus_fill(statement, &corpus);
        stop = row(self, &corpus);
    }
    statement_close(statement);
    return stop ? 0 : result;
}
