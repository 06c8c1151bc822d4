/* proofs: see proofs.h. */
#include "db/proofs.h"

#include "db/connection.h"

#define COLUMNS "passed, started_at, ms, checks, worst, error, bound, library, reason"
static const char sql_load[] =
    "SELECT " COLUMNS " FROM proofs WHERE identity = ?1 AND precision = ?2";
static const char sql_forget[] = "DELETE FROM proofs WHERE identity = ?1";
static const char sql_store[] = "INSERT INTO proofs (identity, precision, " COLUMNS ")"
                                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

const char *proofs_state_name(enum proof_state state)
{
    static const char *const names[PROOF_STATES] = {
        [PROOF_NEVER] = "never",   [PROOF_RUNNING] = "running",
        [PROOF_PASSED] = "passed", [PROOF_COULD_NOT_TRY] = "could_not_try",
        [PROOF_FAILED] = "failed",
    };
    return names[state];
}

const char *proofs_precision(int i)
{
    return i == 0 ? "fp32" : "bf16";
}

static void proofs_fill(sqlite3_stmt *row, struct proof *proof)
{
    proof->state = sqlite3_column_int64(row, 0) ? PROOF_PASSED : PROOF_FAILED;
    proof->started_at = sqlite3_column_int64(row, 1);
    proof->ms = sqlite3_column_int64(row, 2);
    proof->checks = (int)sqlite3_column_int64(row, 3);
    column_copy(row, 4, proof->worst, sizeof proof->worst);
    proof->error = sqlite3_column_double(row, 5);
    proof->bound = sqlite3_column_double(row, 6);
    column_copy(row, 7, proof->library, sizeof proof->library);
    column_copy(row, 8, proof->reason, sizeof proof->reason);
}

int proofs_load(struct db_reader *reader, const char *identity, struct proof out[PROOF_PRECISIONS],
                struct err *err)
{
    struct proof proofs[PROOF_PRECISIONS] = {{.state = PROOF_NEVER}};
    for (int i = 0; i < PROOF_PRECISIONS; i++) {
        sqlite3_stmt *statement;
        if (connection_start(&reader->connection, sql_load,
                             VALUES(value_text(identity), value_text(proofs_precision(i))),
                             &statement, err) < 0)
            return -1;
        const int found = statement_step(statement, err);
        if (found > 0)
            proofs_fill(statement, &proofs[i]);
        statement_close(statement);
        if (found < 0)
            return -1;
    }
    for (int i = 0; i < PROOF_PRECISIONS; i++)
        out[i] = proofs[i];
    return 0;
}

int proofs_store(struct db_writer *writer, const char *identity,
                 const struct proof proofs[PROOF_PRECISIONS], struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_forget, VALUES(value_text(identity)), err) < 0)
        return -1;
    for (int i = 0; i < PROOF_PRECISIONS; i++) {
        const struct proof *p = &proofs[i];
        if (p->state != PROOF_PASSED && p->state != PROOF_FAILED)
            continue;
        if (connection_run(connection, sql_store,
                           VALUES(value_text(identity), value_text(proofs_precision(i)),
                                  value_integer(p->state == PROOF_PASSED),
                                  value_integer(p->started_at), value_integer(p->ms),
                                  value_integer(p->checks), value_text(p->worst),
                                  value_real(p->error), value_real(p->bound),
                                  value_text(p->library), value_text(p->reason)),
                           err) < 0)
            return -1;
    }
    return 0;
}
