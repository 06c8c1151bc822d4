/* epochs: see epochs.h. Numbers are stored in their memory layout, little-endian on
 * every machine that the program is built for. The row of the job holds the layout
 * of its records (number of scalars, of fields), so that a later program with more
 * fields can read them. */
#include "db/epochs.h"

#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/record_grid.h"
#include "db/connection.h"
#include "db/events.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blobs are little-endian");

enum {
    EPOCHS_PAGE = 4096,   /* bytes of a page: SQLite's default */
    EPOCHS_ROW_HEAD = 16, /* lengths and types of a row, numbers of job and epoch */
    EPOCHS_CELL = 16,     /* its key, its length, its place in the page */
    EPOCHS_INDEX = 24     /* its entry in the index of (records, epoch) */
};

static const char sql_job[] =
    "SELECT records, state, epoch, epochs, n_groups, n_tokens, record_every FROM jobs"
    " WHERE id = ?1";
static const char sql_stored[] =
    "SELECT record, tokens FROM epochs WHERE records = ?1 AND epoch = ?2";
static const char sql_insert[] =
    "INSERT INTO epochs (records, epoch, record, tokens) VALUES (?1, ?2, ?3, ?4)";
static const char sql_advance[] =
    "UPDATE jobs SET epoch = ?2, loss = ?3, record_scalars = ?4, record_fields = ?5,"
    " record_bytes = record_bytes + ?6 WHERE id = ?1";
static const char sql_read[] =
    "SELECT e.epoch, e.record, e.tokens, j.n_groups, j.record_scalars, j.record_fields"
    " FROM jobs j JOIN epochs e ON e.records = j.records"
    " WHERE j.id = ?1 AND e.epoch BETWEEN ?2 AND ?3 ORDER BY e.epoch";

int64_t epochs_row_bytes(int n_groups, int n_tokens)
{
    /* https://sqlite.org/fileformat2.html, section 1.6: what exceeds a leaf goes to overflow
     * pages, all but a part of which the leaf keeps. */
    const int64_t whole = EPOCHS_PAGE - 35, least = (EPOCHS_PAGE - 12) * 32 / 255 - 23;
    const int64_t payload = (int64_t)record_size(n_groups) * (int64_t)sizeof(double) +
                            (int64_t)n_tokens * (int64_t)sizeof(float) + EPOCHS_ROW_HEAD;
    const int64_t kept = least + (payload - least) % (EPOCHS_PAGE - 4);
    const int64_t local = payload <= whole ? payload : kept <= whole ? kept : least;
    const int64_t overflow = (payload - local + EPOCHS_PAGE - 5) / (EPOCHS_PAGE - 4);
    const int64_t rows_of_leaf = (EPOCHS_PAGE - 8) / (local + EPOCHS_CELL);
    return EPOCHS_PAGE / rows_of_leaf + overflow * EPOCHS_PAGE + EPOCHS_INDEX;
}

struct epochs_job {
    int64_t records, epoch;
    struct record_grid grid;
    int n_groups, n_tokens;
};

static int epochs_job(struct db_writer *writer, const char *id, struct epochs_job *out,
                      struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql_job, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    const char *state = result > 0 ? (const char *)sqlite3_column_text(statement, 1) : NULL;
    if (result == 0)
        result = err_set(err, ERR_NOT_FOUND, "there is no job %s", id);
    else if (result > 0 && (!state || strcmp(state, "running") != 0))
        result = err_set(err, ERR_CONFLICT, "job %s is %s, its epochs are closed", id,
                         state ? state : "unknown");
    if (result > 0) {
        out->records = sqlite3_column_int64(statement, 0);
        out->epoch = sqlite3_column_int64(statement, 2);
        out->grid.epochs = sqlite3_column_int64(statement, 3);
        out->grid.every = sqlite3_column_int64(statement, 6);
        out->n_groups = sqlite3_column_int(statement, 4);
        out->n_tokens = sqlite3_column_int(statement, 5);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

static int epochs_check(const struct epochs_job *job, const char *id, int64_t from, int n,
                        int n_values, int n_tokens, struct err *err)
{
    if (n < 1 || n_values != record_size(job->n_groups) || n_tokens != job->n_tokens)
        return err_set(err, ERR_PROTOCOL,
                       "job %s: %d epochs of %d numbers and %d tokens, wanted %d and %d", id, n,
                       n_values, n_tokens, record_size(job->n_groups), job->n_tokens);
    const int64_t left =
        record_grid_count(job->grid, job->grid.epochs) - record_grid_count(job->grid, from - 1);
    if (from < 0 || from > record_grid_from(job->grid, job->epoch + 1))
        return err_set(err, ERR_CONFLICT, "job %s: epoch %lld came after epoch %lld", id,
                       (long long)from, (long long)job->epoch);
    if (!record_grid_has(job->grid, from) || n > left)
        return err_set(err, ERR_CONFLICT,
                       "job %s: %d records from epoch %lld on are not those of every %lld-th epoch "
                       "up to the last, %lld",
                       id, n, (long long)from, (long long)job->grid.every,
                       (long long)job->grid.epochs);
    return 0;
}

/* Compare a replayed epoch with the stored one, bit for bit. */
static int epochs_compare(struct db_writer *writer, const struct epochs_job *job, int64_t epoch,
                          const double *values, const float *tokens, struct err *err)
{
    sqlite3_stmt *statement;
    size_t record_bytes = (size_t)record_size(job->n_groups) * sizeof *values;
    size_t token_bytes = (size_t)job->n_tokens * sizeof *tokens;
    if (connection_start(&writer->connection, sql_stored,
                         VALUES(value_integer(job->records), value_integer(epoch)), &statement,
                         err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result >= 0) {
        const void *record = sqlite3_column_blob(statement, 0);
        const void *stored = sqlite3_column_blob(statement, 1);
        int same = result > 0 && (size_t)sqlite3_column_bytes(statement, 0) == record_bytes &&
                   (size_t)sqlite3_column_bytes(statement, 1) == token_bytes &&
                   record_same(record, values, job->n_groups) &&
                   (token_bytes == 0 || memcmp(stored, tokens, token_bytes) == 0);
        result = same ? 0
                      : err_set(err, ERR_NONDETERMINISTIC,
                                "epoch %lld came out differently when it was computed again",
                                (long long)epoch);
    }
    statement_close(statement);
    return result;
}

static int epochs_store(struct db_writer *writer, const struct epochs_job *job, int64_t epoch,
                        const double *values, const float *tokens, struct err *err)
{
    return connection_run(
        &writer->connection, sql_insert,
        VALUES(value_integer(job->records), value_integer(epoch),
               value_blob(values, (size_t)record_size(job->n_groups) * sizeof *values),
               value_blob(tokens, (size_t)job->n_tokens * sizeof *tokens)),
        err);
}

int epochs_append(struct db_writer *writer, const char *job, int64_t from, int n,
                  const double *values, int n_values, const float *tokens, int n_tokens,
                  struct err *err)
{
    struct epochs_job row;
    if (epochs_job(writer, job, &row, err) < 0 ||
        epochs_check(&row, job, from, n, n_values, n_tokens, err) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        const int64_t epoch = record_grid_ahead(row.grid, from, i);
        const double *record = values + (size_t)i * (size_t)n_values;
        const float *means = tokens + (size_t)i * (size_t)n_tokens;
        if ((epoch <= row.epoch ? epochs_compare : epochs_store)(writer, &row, epoch, record, means,
                                                                 err) < 0)
            return -1;
    }
    int64_t last = record_grid_ahead(row.grid, from, n - 1);
    if (last <= row.epoch)
        return 0;
    double loss = values[(size_t)(n - 1) * (size_t)n_values + RECORD_LOSS];
    /* The epochs that are new, without the replayed ones. */
    int64_t first = record_grid_from(row.grid, row.epoch + 1);
    const int64_t bytes =
        (record_grid_count(row.grid, last) - record_grid_count(row.grid, row.epoch)) *
        epochs_row_bytes(row.n_groups, row.n_tokens);
    if (connection_run(&writer->connection, sql_advance,
                       VALUES(value_text(job), value_integer(last), value_real(loss),
                              value_integer(RECORD_SCALARS), value_integer(RECORD_FIELDS),
                              value_integer(bytes)),
                       err) < 0)
        return -1;
    return events_add(writer, "epoch", job, first, last, NULL, err);
}

/* Pass the statement's present row to `row`. A record of a shorter layout is
 * expanded into *expanded, which is allocated once for a whole read. */
static int epochs_give(sqlite3_stmt *statement, double **expanded, epochs_row *row, void *self,
                       int *stop, struct err *err)
{
    const double *values = sqlite3_column_blob(statement, 1);
    int stored = sqlite3_column_bytes(statement, 1) / (int)sizeof *values;
    int n_groups = sqlite3_column_int(statement, 3);
    int n_scalars = sqlite3_column_int(statement, 4);
    int n_fields = sqlite3_column_int(statement, 5);
    int64_t epoch = sqlite3_column_int64(statement, 0);
    int size = record_size(n_groups);
    if (stored != n_scalars + n_fields * n_groups || n_scalars > RECORD_SCALARS ||
        n_fields > RECORD_FIELDS)
        return err_set(err, ERR_CORRUPT, "epoch %lld has %d numbers", (long long)epoch, stored);
    if (stored != size) {
        if (!*expanded && !(*expanded = malloc((size_t)size * sizeof **expanded)))
            return err_set(err, ERR_NO_MEMORY, "no memory for a record of %d numbers", size);
        record_expand(values, n_scalars, n_fields, n_groups, *expanded);
        values = *expanded;
    }
    *stop = row(self, epoch, values, size, sqlite3_column_blob(statement, 2),
                sqlite3_column_bytes(statement, 2) / (int)sizeof(float));
    return 0;
}

int epochs_read(struct db_reader *reader, const char *job, int64_t from, int64_t to,
                epochs_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_read,
                         VALUES(value_text(job), value_integer(from), value_integer(to)),
                         &statement, err) < 0)
        return -1;
    double *expanded = NULL;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0)
        if (epochs_give(statement, &expanded, row, self, &stop, err) < 0) {
            result = -1;
            break;
        }
    statement_close(statement);
    free(expanded);
    return stop ? 0 : result;
}
