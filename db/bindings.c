/* bindings: see bindings.h. */
#include "db/bindings.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "db/connection.h"
#include "db/history.h"

static const char sql_of_uid[] = "SELECT name FROM users WHERE uid = ?1";
static const char sql_of_name[] = "SELECT admin, coalesce(uid, -1) FROM users WHERE name = ?1";
static const char sql_bind[] = "UPDATE users SET uid = iif(?2 < 0, NULL, ?2) WHERE name = ?1";
static const char sql_end_login[] =
    "UPDATE credentials SET expires_at = ?3 WHERE user = ?1 AND (expires_at = 0 OR expires_at > ?3)"
    " AND iif(kind = 'token', label = ?2, label IN (SELECT substr(hash, 1, 16) FROM credentials"
    " WHERE user = ?1 AND kind = 'token' AND label = ?2))";

/* The name of the user who has the uid; "": nobody. */
static int binding_of_uid(struct connection *connection, int64_t uid, char name[USER_NAME_MAX + 1],
                          struct err *err)
{
    sqlite3_stmt *statement;
    name[0] = '\0';
    if (connection_start(connection, sql_of_uid, VALUES(value_integer(uid)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, name, USER_NAME_MAX + 1);
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

struct binding {
    int is_there, is_admin;
    int64_t uid;
};

static int binding_of_name(struct connection *connection, const char *name, struct binding *out,
                           struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_of_name, VALUES(value_text(name)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    *out = (struct binding){.uid = -1};
    if (found > 0)
        *out = (struct binding){.is_there = 1,
                                .is_admin = sqlite3_column_int(statement, 0),
                                .uid = sqlite3_column_int64(statement, 1)};
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

int binding_set(struct db_writer *writer, const char *user, int64_t uid, struct err *err)
{
    struct connection *connection = &writer->connection;
    char other[USER_NAME_MAX + 1], words[48] = "no uid";
    if (uid >= 0 && binding_of_uid(connection, uid, other, err) < 0)
        return -1;
    if (uid >= 0 && other[0] && strcmp(other, user) != 0)
        return err_set(err, ERR_CONFLICT, "uid %lld is %s already", (long long)uid, other);
    if (connection_run(connection, sql_bind, VALUES(value_text(user), value_integer(uid)), err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%.64s\"", user);
    if (uid >= 0)
        snprintf(words, sizeof words, "uid %lld", (long long)uid);
    const struct history entry = {
        .kind = "user", .object = user, .action = "bind", .detail = words};
    return history_add(writer, &entry, err);
}

/* May the account be the user of its name, who is there? */
static int binding_check(const struct binding_login *login, const struct binding *there,
                         struct err *err)
{
    if (strcmp(login->account, USER_LOCAL) == 0)
        return err_set(err, ERR_FORBIDDEN, "the user %s is the server itself", USER_LOCAL);
    if (there->uid >= 0)
        return err_set(err, ERR_CONFLICT,
                       "the user %s is bound to uid %lld, and you are uid %lld: an administrator "
                       "can change that (tokenfate user bind)",
                       login->account, (long long)there->uid, (long long)login->uid);
    if (there->is_admin && !login->may_be_admin)
        return err_set(err, ERR_FORBIDDEN,
                       "the user %s is an administrator, and your account may not be one: an "
                       "administrator can bind it (tokenfate user bind %s %lld)",
                       login->account, login->account, (long long)login->uid);
    return 0;
}

/* The user for a uid that nobody has. */
static int binding_first(struct db_writer *writer, const struct binding_login *login,
                         struct err *err)
{
    struct binding there;
    if (user_check_name(login->account, err) < 0 ||
        binding_of_name(&writer->connection, login->account, &there, err) < 0)
        return -1;
    if (there.is_there && binding_check(login, &there, err) < 0)
        return -1;
    if (!there.is_there && !login->may_create)
        return err_set(err, ERR_FORBIDDEN,
                       "there is no user %s, and an administrator has to make one (tokenfate user "
                       "add %s)",
                       login->account, login->account);
    if (!there.is_there && user_insert(writer, login->account, login->may_be_admin, err) < 0)
        return -1;
    return binding_set(writer, login->account, login->uid, err);
}

int binding_login(struct db_writer *writer, const struct binding_login *login,
                  char user[USER_NAME_MAX + 1], struct err *err)
{
    struct connection *connection = &writer->connection;
    const int64_t end = db_now() + (int64_t)TOKEN_GRACE_SECONDS * 1000000;
    if (binding_of_uid(connection, login->uid, user, err) < 0)
        return -1;
    if (!user[0]) {
        if (binding_first(writer, login, err) < 0)
            return -1;
        snprintf(user, USER_NAME_MAX + 1, "%s", login->account);
    }
    if (connection_run(connection, sql_end_login,
                       VALUES(value_text(user), value_text(BINDING_LABEL), value_integer(end)),
                       err) < 0)
        return -1;
    return credential_insert(writer, user, "token", login->hash, BINDING_LABEL, 0, err);
}
