/* accounts: see accounts.h. */
#include "db/accounts.h"

#include <string.h>

#include "db/connection.h"
#include "db/history.h"

static const char sql_get[] =
    "SELECT coalesce(a.virtual, 0), coalesce(a.used, 0), coalesce(a.used_at, 0),"
    " coalesce((SELECT share FROM users WHERE name = ?1), 1)"
    " FROM (SELECT 1) LEFT JOIN accounts a ON a.user = ?1 AND a.kind = ?2";
static const char sql_list[] =
    "SELECT a.virtual, a.used, a.used_at, coalesce(u.share, 1), a.user, a.kind"
    " FROM accounts a LEFT JOIN users u ON u.name = a.user ORDER BY a.kind, a.user";
static const char sql_write[] =
    "REPLACE INTO accounts (user, kind, virtual, used, used_at) VALUES (?1, ?2, ?3, ?4, ?5)";
static const char sql_raise[] =
    "INSERT INTO accounts (user, kind, virtual, used, used_at) VALUES (?1, ?2, ?3, 0, 0)"
    " ON CONFLICT (user, kind) DO UPDATE SET virtual = max(virtual, ?3)";
static const char sql_queue[] = "SELECT state, actor FROM queue";
static const char sql_queue_set[] = "UPDATE queue SET state = ?1, actor = ?2 WHERE state <> ?1";

static void account_take(sqlite3_stmt *row, struct account *account)
{
    account->virtual = sqlite3_column_double(row, 0);
    account->used = sqlite3_column_double(row, 1);
    account->used_at = sqlite3_column_int64(row, 2);
    account->share = sqlite3_column_double(row, 3);
}

static int account_fill(struct connection *connection, struct account *account, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_get,
                         VALUES(value_text(account->user), value_text(account->kind)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        account_take(statement, account);
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

int account_read(struct db_writer *writer, struct account *account, struct err *err)
{
    return account_fill(&writer->connection, account, err);
}

int account_get(struct db_reader *reader, struct account *account, struct err *err)
{
    return account_fill(&reader->connection, account, err);
}

int account_list(struct db_reader *reader, int (*row)(void *self, const struct account *account),
                 void *self, struct err *err)
{
    sqlite3_stmt *statement;
    int result, stop = 0;
    if (connection_start(&reader->connection, sql_list, NO_VALUES, &statement, err) < 0)
        return -1;
    while ((result = statement_step(statement, err)) > 0 && !stop) {
        struct account account;
        account_take(statement, &account);
        column_copy(statement, 4, account.user, sizeof account.user);
        column_copy(statement, 5, account.kind, sizeof account.kind);
        stop = row(self, &account);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

int account_write(struct db_writer *writer, const struct account *account, struct err *err)
{
    return connection_run(&writer->connection, sql_write,
                          VALUES(value_text(account->user), value_text(account->kind),
                                 value_real(account->virtual), value_real(account->used),
                                 value_integer(account->used_at)),
                          err);
}

int account_raise(struct db_writer *writer, const struct account *account, struct err *err)
{
    return connection_run(
        &writer->connection, sql_raise,
        VALUES(value_text(account->user), value_text(account->kind), value_real(account->virtual)),
        err);
}

/* ---- the queue ---- */

static const struct {
    const char *name, *action;
} queue_states[QUEUE_STATES] = {
    [QUEUE_OPEN] = {"open", "resume"},
    [QUEUE_DRAINING] = {"draining", "drain"},
    [QUEUE_PAUSED] = {"paused", "pause"},
};

const char *queue_state_name(enum queue_state state)
{
    return queue_states[state].name;
}

static int queue_read(struct connection *connection, enum queue_state *state,
                      char actor[DB_ACTOR_MAX], struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_queue, NO_VALUES, &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0) {
        for (int i = 0; i < QUEUE_STATES; i++)
            if (strcmp(queue_states[i].name, (const char *)sqlite3_column_text(statement, 0)) == 0)
                *state = (enum queue_state)i;
        column_copy(statement, 1, actor, DB_ACTOR_MAX);
    }
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

int queue_get(struct db_reader *reader, enum queue_state *state, char actor[DB_ACTOR_MAX],
              struct err *err)
{
    return queue_read(&reader->connection, state, actor, err);
}

int queue_set(struct db_writer *writer, enum queue_state state, struct err *err)
{
    enum queue_state before = QUEUE_OPEN;
    char actor[DB_ACTOR_MAX];
    if (queue_read(&writer->connection, &before, actor, err) < 0 ||
        connection_run(&writer->connection, sql_queue_set,
                       VALUES(value_text(queue_states[state].name), value_text(writer->actor)),
                       err) < 0)
        return -1;
    if (connection_changes(&writer->connection) == 0)
        return 0;
    const struct history entry = {.kind = "queue",
                                  .object = "queue",
                                  .action = queue_states[state].action,
                                  .from = queue_states[before].name,
                                  .to = queue_states[state].name};
    return history_add(writer, &entry, err);
}
