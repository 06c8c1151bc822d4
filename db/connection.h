/* connection: one SQLite handle with its prepared statements. Private to the db
 * room: the files of the tables run all their SQL through these functions, so
 * that binding, error mapping and reset are written once.
 *
 * A statement is prepared at its first use and kept until the connection closes.
 * The key of this cache is the address of the SQL text, so SQL texts must be
 * string constants. Not thread safe: a connection belongs to one thread at a
 * time, and SQLite's own mutexes are off (SQLITE_OPEN_NOMUTEX). */
#ifndef TOKENFATE_CONNECTION_H
#define TOKENFATE_CONNECTION_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/histogram.h"

enum {
    CONNECTION_STATEMENTS_MAX = 256, /* different SQL texts in the program */
    CONNECTION_BUSY_MS = 5000        /* wait for the lock of another program on the file */
};

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
    int64_t last_event;           /* newest event id written, 0 = none since the start */
    const char *actor;            /* of the operation: a user's name; "": the server itself */
    struct histogram *queue_wait; /* of db_statistics */
    int has_deletions; /* an operation detached rows (deletions.h), also if it was rolled back */
};

/* A value to bind. Texts and blobs are borrowed, not copied: they must live until
 * the statement is closed. */
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

/* The two arguments `values, n` of a call: the values of ?1, ?2, ... in order. */
#define VALUES(...)                                                                                \
    (const struct value[]){__VA_ARGS__},                                                           \
        (int)(sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))
#define NO_VALUES NULL, 0

/* Open the file with the settings of every connection: fold() (fold.h), foreign keys, fsync at each
 * commit (synchronous=FULL), SQLite's defensive mode, secure_delete=FAST. Debian's
 * default, secure_delete=ON, would write every page that a deletion frees full of
 * zeros; FAST does so only within pages that are written anyway. read_only: the connection
 * never writes and never checkpoints. */
int connection_open(struct connection *connection, const char *path, int read_only,
                    struct err *err);
void connection_close(struct connection *connection);

/* Start a statement: prepare it and bind the values. Step it with statement_step,
 * end it with statement_close. Values beyond its parameters are ignored. */
int connection_start(struct connection *connection, const char *sql, const struct value *values,
                     int n, sqlite3_stmt **out, struct err *err);

/* 1 = there is a row, 0 = there are no more rows, -1 = error. */
int statement_step(sqlite3_stmt *statement, struct err *err);
void statement_close(sqlite3_stmt *statement);

/* Run a statement to its end; rows are ignored. */
int connection_run(struct connection *connection, const char *sql, const struct value *values,
                   int n, struct err *err);

/* The first column of the first row as an integer; `none` without a row. */
int connection_integer(struct connection *connection, const char *sql, const struct value *values,
                       int n, int64_t none, int64_t *out, struct err *err);

/* Number of rows that the last connection_run changed. */
int64_t connection_changes(const struct connection *connection);

/* Run a script of several statements; they are not kept. */
int connection_script(struct connection *connection, const char *sql, struct err *err);

/* Copy a text column: into malloc'ed memory (NULL for a NULL column), and into a
 * buffer of n bytes, cut to fit and terminated. */
int column_text(sqlite3_stmt *statement, int column, char **out, struct err *err);
void column_copy(sqlite3_stmt *statement, int column, char *out, size_t n);

#endif
