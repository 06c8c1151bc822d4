/* connection: one SQLite handle with its prepared statements. Private to the db
 * room: the tables' files run all their SQL through the few functions here, so
 * that binding, error mapping and resetting exist once.
 *
 * A statement is prepared at its first use and kept, found again by the address
 * of its text: SQL texts are string constants. Not thread safe: a connection
 * belongs to one thread at a time. */
#ifndef TOKENFATE_CONNECTION_H
#define TOKENFATE_CONNECTION_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

enum { CONNECTION_STATEMENTS_MAX = 96 }; /* different SQL texts in the program */

struct connection {
    sqlite3 *handle;
    int n;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } prepared[CONNECTION_STATEMENTS_MAX];
};

struct db_reader {
    struct connection connection;
};

struct db_writer {
    struct connection connection;
    int64_t last_event; /* newest event written, 0 = none since the start */
};

/* A value to bind. Texts and blobs are borrowed until the statement is closed. */
enum value_type { VALUE_TEXT, VALUE_INTEGER, VALUE_REAL, VALUE_BLOB };
struct value {
    enum value_type type;
    int64_t integer;
    double real;
    const void *bytes; /* NULL binds NULL */
    size_t n;
};

struct value value_text(const char *text); /* NULL binds NULL */
struct value value_integer(int64_t integer);
struct value value_real(double real); /* not finite binds NULL */
struct value value_blob(const void *bytes, size_t n);

/* The values of a call, in the order of ?1, ?2, ... */
#define VALUES(...)                                                                                \
    (const struct value[]){__VA_ARGS__},                                                           \
        (int)(sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))
#define NO_VALUES NULL, 0

/* Open the file with the settings every connection needs (foreign keys, full
 * sync, the schema defended). read_only: never writes, never checkpoints. */
int connection_open(struct connection *connection, const char *path, int read_only,
                    struct err *err);
void connection_close(struct connection *connection);

/* Start a statement; step it with statement_step, end it with statement_close.
 * Values beyond the statement's parameters are left out. */
int connection_start(struct connection *connection, const char *sql, const struct value *values,
                     int n, sqlite3_stmt **out, struct err *err);

/* 1: a row is there. 0: no more. -1: error. */
int statement_step(sqlite3_stmt *statement, struct err *err);
void statement_close(sqlite3_stmt *statement);

/* Run a statement to its end. */
int connection_run(struct connection *connection, const char *sql, const struct value *values,
                   int n, struct err *err);

/* The first column of the first row as an integer; `none` without a row. */
int connection_integer(struct connection *connection, const char *sql, const struct value *values,
                       int n, int64_t none, int64_t *out, struct err *err);

/* Rows that the last connection_run changed. */
int64_t connection_changes(const struct connection *connection);

/* Run a script of several statements, not prepared, not kept. */
int connection_script(struct connection *connection, const char *sql, struct err *err);

/* Copies of a text column: in malloc'ed memory (NULL column: NULL), and into a
 * buffer of n bytes. */
int column_text(sqlite3_stmt *statement, int column, char **out, struct err *err);
void column_copy(sqlite3_stmt *statement, int column, char *out, size_t n);

#endif
