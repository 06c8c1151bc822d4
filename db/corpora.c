/* corpora: see corpora.h. One row for each pair of name and text; the row with the
 * largest seq is the text that the name stands for. */
#include "db/corpora.h"

#include <string.h>

#include "db/connection.h"
#include "db/history.h"

enum { CORPUS_JOBS_NAMED = 5 }; /* jobs that a refused deletion names: fits ERR_MESSAGE_MAX */

#define COLUMNS "SELECT sha256, name, bytes, created_at, user FROM corpora"
/* Also a row that has no other name than the address. */
static const char sql_remove[] =
    "DELETE FROM corpora WHERE sha256 = ?2 AND (name = ?1 OR name = ?2)";
static const char sql_check[] = "SELECT 1 FROM corpora WHERE sha256 = ?1";
/* Deletion: ?1 is the address, ?2 the name, NULL for all names. */
#define DELETED "sha256 = ?1 AND (?2 IS NULL OR name = ?2 COLLATE NOCASE)"
static const char sql_foreign[] = COLUMNS " WHERE " DELETED " AND user <> ?3 LIMIT 1";
static const char sql_others[] =
    "SELECT 1 FROM corpora WHERE sha256 = ?1 AND ?2 IS NOT NULL AND name <> ?2 COLLATE NOCASE";
static const char sql_unname[] =
    "UPDATE OR REPLACE corpora SET name = sha256 WHERE sha256 <> ?1"
    " AND (?2 IS NULL OR name = ?2 COLLATE NOCASE)"
    " AND (SELECT sha256 FROM corpora AS newest WHERE newest.name = corpora.name COLLATE NOCASE"
    " ORDER BY seq DESC LIMIT 1) = ?1";
static const char sql_delete[] = "DELETE FROM corpora WHERE " DELETED;
static const char sql_users[] = "SELECT j.id FROM job_texts t JOIN jobs j ON j.seq = t.job"
                                " WHERE t.corpus_sha256 = ?1 ORDER BY t.job";
static const char sql_insert[] = "INSERT INTO corpora (sha256, name, bytes, user, created_at)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5)";
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
static int corpus_find(struct connection *connection, const char *sql, const struct value *values,
                       int n, struct corpus *out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql, values, n, &statement, err) < 0)
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
    const int taken =
        corpus_find(connection, sql_newest, VALUES(value_text(corpus->name)), &present, err);
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
    const struct history entry = {.kind = "text",
                                  .object = corpus->sha256,
                                  .action = taken ? "replace" : "upload",
                                  .from = taken ? present.sha256 : NULL,
                                  .to = corpus->sha256,
                                  .detail = (const char *)name.bytes};
    return history_add(writer, &entry, err);
}

static int corpus_take(struct connection *connection, const char *id, struct corpus *out,
                       struct err *err)
{
    const int found = corpus_find(connection, sql_get, VALUES(value_text(id)), out, err);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no text \"%.100s\"", id);
    return found < 0 ? -1 : 0;
}

int corpus_get(struct db_reader *reader, const char *id, struct corpus *out, struct err *err)
{
    return corpus_take(&reader->connection, id, out, err);
}

int corpus_check(struct db_writer *writer, const char *sha256, struct err *err)
{
    int64_t is_there = 0;
    if (connection_integer(&writer->connection, sql_check, VALUES(value_text(sha256)), 0, &is_there,
                           err) < 0)
        return -1;
    return is_there ? 0 : err_set(err, ERR_NOT_FOUND, "there is no text %.64s", sha256);
}

/* ERR_CONFLICT if jobs use the text. */
static int corpus_check_unused(struct connection *connection, const char *sha256, struct err *err)
{
    char jobs[CORPUS_JOBS_NAMED * (DB_ID_MAX + 2) + 1] = "";
    sqlite3_stmt *statement;
    int n = 0, result;
    if (connection_start(connection, sql_users, VALUES(value_text(sha256)), &statement, err) < 0)
        return -1;
    while ((result = statement_step(statement, err)) > 0)
        if (n++ < CORPUS_JOBS_NAMED) {
            char id[DB_ID_MAX];
            column_copy(statement, 0, id, sizeof id);
            strcat(strcat(jobs, n > 1 ? ", " : ""), id);
        }
    statement_close(statement);
    if (result < 0 || n == 0)
        return result;
    return err_set(err, ERR_CONFLICT, "%d job%s use%s this text: %s%s", n, n == 1 ? "" : "s",
                   n == 1 ? "s" : "", jobs, n > CORPUS_JOBS_NAMED ? ", ..." : "");
}

int corpus_delete(struct db_writer *writer, const char *id, const char *user, int *last,
                  struct err *err)
{
    struct connection *connection = &writer->connection;
    struct corpus corpus, foreign;
    int64_t others = 0;
    if (corpus_take(connection, id, &corpus, err) < 0)
        return -1;
    const struct value sha256 = value_text(corpus.sha256),
                       name = value_text(strcmp(id, corpus.sha256) == 0 ? NULL : corpus.name);
    const int is_foreign = user ? corpus_find(connection, sql_foreign,
                                              VALUES(sha256, name, value_text(user)), &foreign, err)
                                : 0;
    if (is_foreign > 0)
        return err_set(err, ERR_FORBIDDEN,
                       "the name \"%s\" of this text belongs to %s, and %s is not an administrator",
                       foreign.name, foreign.user, user);
    if (is_foreign < 0 ||
        connection_integer(connection, sql_others, VALUES(sha256, name), 0, &others, err) < 0 ||
        (!others && corpus_check_unused(connection, corpus.sha256, err) < 0) ||
        connection_run(connection, sql_unname, VALUES(sha256, name), err) < 0 ||
        connection_run(connection, sql_delete, VALUES(sha256, name), err) < 0)
        return -1;
    *last = !others;
    const struct history entry = {.kind = "text",
                                  .object = corpus.sha256,
                                  .action = "delete",
                                  .from = corpus.sha256,
                                  .to = others ? corpus.sha256 : NULL,
                                  .detail = (const char *)name.bytes};
    return history_add(writer, &entry, err);
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
