/* users: see users.h. Expired credentials are deleted whenever a new one is issued. */
#include "db/users.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/text_name.h"
#include "db/connection.h"
#include "db/history.h"
#include "db/jobs.h"

static const char sql_insert[] =
    "INSERT INTO users (name, admin, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
static const char sql_change[] =
    "UPDATE users SET admin = iif(?2 < 0, admin, ?2), disabled = iif(?3 < 0, disabled, ?3)"
    " WHERE name = ?1";
static const char sql_share[] = "UPDATE users SET share = ?2 WHERE name = ?1";
static const char sql_admins[] = "SELECT count(*) FROM users WHERE admin AND NOT disabled";
static const char sql_admin[] = "SELECT admin FROM users WHERE name = ?1";
static const char sql_disabled[] = "SELECT disabled FROM users WHERE name = ?1";
static const char sql_get[] = "SELECT name, admin, disabled, created_at, share, uid FROM users"
                              " WHERE name = ?1";
static const char sql_list[] = "SELECT name, admin, disabled, created_at, share, uid FROM users"
                               " ORDER BY name";
static const char sql_expire[] = "DELETE FROM credentials WHERE expires_at BETWEEN 1 AND ?1";
/* A session ends with its token at the latest. */
static const char sql_credential[] =
    "INSERT INTO credentials (hash, user, kind, label, created_at, life, expires_at)"
    " SELECT ?1, name, ?3, ?4, ?5, max(?6 - ?5, 0), coalesce((SELECT min(?6, expires_at) FROM "
    "credentials"
    " WHERE ?3 = 'session' AND user = ?2 AND kind = 'token' AND substr(hash, 1, 16) = ?4"
    " AND expires_at > 0), ?6)"
    " FROM users WHERE name = ?2 AND disabled = 0"
    /* The label of a session is the id of its token. The token may have been revoked
     * after the request was authenticated, so its row is checked in this transaction. */
    " AND (?3 <> 'session' OR EXISTS (SELECT 1 FROM credentials"
    " WHERE user = ?2 AND kind = 'token' AND substr(hash, 1, 16) = ?4))";
static const char sql_revoke[] = "DELETE FROM credentials WHERE hash = ?1";
static const char sql_revoke_token[] =
    "DELETE FROM credentials WHERE user = ?1 AND kind = 'token' AND substr(hash, 1, 16) = ?2";
static const char sql_revoke_sessions[] =
    "DELETE FROM credentials WHERE user = ?1 AND kind = 'session' AND label = ?2";
static const char sql_tokens[] =
    "SELECT substr(hash, 1, 16), user, label, created_at, expires_at, life FROM credentials"
    " WHERE kind = 'token' AND (expires_at = 0 OR expires_at > ?3)"
    " AND (?1 IS NULL OR user = ?1) AND (?2 IS NULL OR substr(hash, 1, 16) = ?2)"
    " ORDER BY created_at, hash";
static const char sql_count_tokens[] =
    "SELECT count(*) FROM credentials WHERE user = ?1 AND kind = 'token'";
/* The token and the sessions that it was exchanged for end at ?3 at the latest. */
static const char sql_end_token[] = "UPDATE credentials SET expires_at = ?3 WHERE user = ?1"
                                    " AND iif(kind = 'token', substr(hash, 1, 16), label) = ?2"
                                    " AND (expires_at = 0 OR expires_at > ?3)";
static const char sql_owner[] = "SELECT user FROM credentials WHERE hash = ?1";
static const char sql_user[] =
    "SELECT u.name, u.admin, u.disabled, u.created_at, u.share, u.uid FROM credentials c"
    " JOIN users u ON u.name = c.user WHERE c.hash = ?1 AND c.kind = ?2 AND u.disabled = 0"
    " AND (c.expires_at = 0 OR c.expires_at > ?3)";

static int user_not_found(const char *name, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no user \"%.64s\"", name);
}

/* Names stand in URLs and in command lines, so only letters, digits and ._- are
 * allowed. A URL path segment that is only dots would name another folder. */
int user_check_name(const char *name, struct err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t length = strlen(name);
    if (length < 1 || length > USER_NAME_MAX)
        return err_field(err, "/name", "\"%.70s\" has %zu bytes; 1 to %d are allowed", name, length,
                         USER_NAME_MAX);
    if (strspn(name, allowed) != length)
        return err_field(err, "/name", "\"%s\" has other characters than letters, digits, . _ -",
                         name);
    if (strspn(name, ".") == length)
        return err_field(err, "/name", "\"%s\" has nothing but dots", name);
    return 0;
}

int token_check_label(const char *label, struct err *err)
{
    size_t length = strlen(label);
    if (length > TOKEN_LABEL_MAX)
        return err_field(err, "/label", "\"%.70s\" has %zu bytes; %d are allowed", label, length,
                         TOKEN_LABEL_MAX);
    return *label ? text_name_check_label(label, "/label", err) : 0;
}

int token_check_expiry(int64_t expires_at, struct err *err)
{
    const int64_t left = expires_at - db_now();
    if (expires_at && (left <= 0 || left > (int64_t)TOKEN_SECONDS_MAX * 1000000))
        return err_field(err, "/expires_at", "%lld s from now; it must lie within the next %d s",
                         (long long)(left / 1000000), TOKEN_SECONDS_MAX);
    return 0;
}

static int user_tell(struct db_writer *writer, const char *name, const char *action,
                     const char *from, const char *to, const char *detail, struct err *err)
{
    const struct history entry = {
        .kind = "user", .object = name, .action = action, .from = from, .to = to, .detail = detail};
    return history_add(writer, &entry, err);
}

static const char *user_role(int64_t admin)
{
    return admin ? "admin" : "user";
}

static int user_store(struct db_writer *writer, const char *name, int admin, struct err *err)
{
    if (connection_run(&writer->connection, sql_insert,
                       VALUES(value_text(name), value_integer(admin != 0), value_integer(db_now())),
                       err) < 0)
        return -1;
    if (connection_changes(&writer->connection) != 1)
        return err_set(err, ERR_CONFLICT, "there is a user \"%s\" already", name);
    return user_tell(writer, name, "create", NULL, user_role(admin), NULL, err);
}

int user_insert(struct db_writer *writer, const char *name, int admin, struct err *err)
{
    static const char *const reserved[] = {USER_LOCAL, USER_FIRST};
    if (user_check_name(name, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcasecmp(name, reserved[i]) == 0)
            return err_set(err, ERR_CONFLICT,
                           "\"%s\" is reserved: the server itself is or makes %s", name,
                           reserved[i]);
    return user_store(writer, name, admin, err);
}

int user_insert_first(struct db_writer *writer, struct err *err)
{
    return user_store(writer, USER_FIRST, 1, err);
}

static int user_admins(struct db_writer *writer, int64_t *n, struct err *err)
{
    return connection_integer(&writer->connection, sql_admins, NO_VALUES, 0, n, err);
}

struct user_flags {
    int64_t admin, disabled;
};

static int user_flags(struct db_writer *writer, const char *name, struct user_flags *out,
                      struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_integer(connection, sql_admin, VALUES(value_text(name)), 0, &out->admin, err) <
        0)
        return -1;
    return connection_integer(connection, sql_disabled, VALUES(value_text(name)), 0, &out->disabled,
                              err);
}

/* Tell what was changed; the jobs of a user who was disabled or enabled follow. */
static int user_changed(struct db_writer *writer, const char *name, const struct user_flags *before,
                        struct err *err)
{
    struct user_flags after;
    if (user_flags(writer, name, &after, err) < 0)
        return -1;
    if (after.admin != before->admin && user_tell(writer, name, "role", user_role(before->admin),
                                                  user_role(after.admin), NULL, err) < 0)
        return -1;
    if (after.disabled == before->disabled)
        return 0;
    if (after.disabled)
        return user_tell(writer, name, "disable", "active", "disabled", NULL, err) < 0
                   ? -1
                   : job_hold_all(writer, name, err);
    return user_tell(writer, name, "enable", "disabled", "active", NULL, err) < 0
               ? -1
               : job_release_all(writer, name, err);
}

int user_change(struct db_writer *writer, const char *name, int admin, int disabled,
                struct err *err)
{
    struct user_flags before;
    int64_t admins_before = 0, admins = 0;
    if (user_admins(writer, &admins_before, err) < 0 ||
        user_flags(writer, name, &before, err) < 0 ||
        connection_run(&writer->connection, sql_change,
                       VALUES(value_text(name), value_integer(admin), value_integer(disabled)),
                       err) < 0)
        return -1;
    if (connection_changes(&writer->connection) != 1)
        return user_not_found(name, err);
    if (user_admins(writer, &admins, err) < 0)
        return -1;
    if (admins_before && !admins)
        return err_set(err, ERR_CONFLICT,
                       "%s is the last administrator who is not disabled, and remains one", name);
    return user_changed(writer, name, &before, err);
}

int user_set_share(struct db_writer *writer, const char *name, double share, struct err *err)
{
    char words[64];
    if (!(share >= USER_SHARE_MIN && share <= USER_SHARE_MAX))
        return err_field(err, "/share", "%g is outside %g to %g", share, USER_SHARE_MIN,
                         USER_SHARE_MAX);
    if (connection_run(&writer->connection, sql_share, VALUES(value_text(name), value_real(share)),
                       err) < 0)
        return -1;
    if (connection_changes(&writer->connection) != 1)
        return user_not_found(name, err);
    snprintf(words, sizeof words, "share %g", share);
    return user_tell(writer, name, "change", NULL, NULL, words, err);
}

static void user_fill(sqlite3_stmt *row, struct user *user)
{
    column_copy(row, 0, user->name, sizeof user->name);
    user->admin = sqlite3_column_int(row, 1);
    user->disabled = sqlite3_column_int(row, 2);
    user->created_at = sqlite3_column_int64(row, 3);
    user->share = sqlite3_column_double(row, 4);
    user->uid = sqlite3_column_type(row, 5) == SQLITE_NULL ? -1 : sqlite3_column_int64(row, 5);
}

int user_get(struct db_reader *reader, const char *name, struct user *out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_get, VALUES(value_text(name)), &statement, err) <
        0)
        return -1;
    int result = statement_step(statement, err);
    if (result > 0)
        user_fill(statement, out);
    statement_close(statement);
    return result > 0 ? 0 : result == 0 ? user_not_found(name, err) : -1;
}

int user_list(struct db_reader *reader, user_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_list, NO_VALUES, &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct user user;
        user_fill(statement, &user);
        stop = row(self, &user);
    }
    statement_close(statement);
    return stop ? 0 : result;
}

/* Set the error of a credential that was not inserted. */
static int credential_refuse(struct connection *connection, const char *user, struct err *err)
{
    int64_t disabled;
    if (connection_integer(connection, sql_disabled, VALUES(value_text(user)), -1, &disabled, err) <
        0)
        return -1;
    if (disabled == 0) /* the user may have credentials, so the session's token is missing */
        return err_set(err, ERR_UNAUTHORIZED, "the token has been revoked");
    return disabled > 0 ? err_set(err, ERR_CONFLICT, "the user %s is disabled", user)
                        : user_not_found(user, err);
}

/* ERR_CONFLICT if the user has as many tokens as are allowed. */
static int credential_check_room(struct connection *connection, const char *user, const char *kind,
                                 struct err *err)
{
    int64_t n = 0;
    if (strcmp(kind, "token") != 0)
        return 0;
    if (connection_integer(connection, sql_count_tokens, VALUES(value_text(user)), 0, &n, err) < 0)
        return -1;
    if (n >= TOKENS_MAX)
        return err_set(err, ERR_CONFLICT, "%.64s has %d tokens, the most allowed: revoke one", user,
                       TOKENS_MAX);
    return 0;
}

static int credential_store(struct db_writer *writer, const char *user, const char *kind,
                            const char *hash, const char *label, int64_t expires_at,
                            struct err *err)
{
    struct connection *connection = &writer->connection;
    int64_t now = db_now();
    if (token_check_label(label, err) < 0 ||
        connection_run(connection, sql_expire, VALUES(value_integer(now)), err) < 0 ||
        credential_check_room(connection, user, kind, err) < 0 ||
        connection_run(connection, sql_credential,
                       VALUES(value_text(hash), value_text(user), value_text(kind),
                              value_text(label), value_integer(now), value_integer(expires_at)),
                       err) < 0)
        return -1;
    return connection_changes(connection) == 1 ? 0 : credential_refuse(connection, user, err);
}

/* detail: the token, and how it is called or what took its place. */
static int token_tell(struct db_writer *writer, const char *user, const char *action,
                      const char *id, const char *more, struct err *err)
{
    char detail[TOKEN_ID_MAX + TOKEN_LABEL_MAX + 8];
    snprintf(detail, sizeof detail, "%.16s%s%s", id, *more ? " " : "", more);
    return user_tell(writer, user, action, NULL, NULL, detail, err);
}

int credential_insert(struct db_writer *writer, const char *user, const char *kind,
                      const char *hash, const char *label, int64_t expires_at, struct err *err)
{
    if (credential_store(writer, user, kind, hash, label, expires_at, err) < 0)
        return -1;
    return strcmp(kind, "token") == 0 ? token_tell(writer, user, "token_issue", hash, label, err)
                                      : 0;
}

int credential_revoke(struct db_writer *writer, const char *hash, struct err *err)
{
    if (connection_run(&writer->connection, sql_revoke, VALUES(value_text(hash)), err) < 0)
        return -1;
    if (connection_changes(&writer->connection) != 1)
        return err_set(err, ERR_NOT_FOUND, "there is no such token or session");
    return 0;
}

void token_id(const char *hash, char id[TOKEN_ID_MAX])
{
    memcpy(id, hash, TOKEN_ID_MAX - 1);
    id[TOKEN_ID_MAX - 1] = '\0';
}

static int token_not_found(const char *user, const char *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%.64s has no token %.64s", user, id);
}

int token_revoke(struct db_writer *writer, const char *user, const char *id, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_revoke_token, VALUES(value_text(user), value_text(id)),
                       err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return token_not_found(user, id, err);
    if (connection_run(connection, sql_revoke_sessions, VALUES(value_text(user), value_text(id)),
                       err) < 0)
        return -1;
    return token_tell(writer, user, "token_revoke", id, "", err);
}

static void token_fill(sqlite3_stmt *row, struct token *token)
{
    column_copy(row, 0, token->id, sizeof token->id);
    column_copy(row, 1, token->user, sizeof token->user);
    column_copy(row, 2, token->label, sizeof token->label);
    token->created_at = sqlite3_column_int64(row, 3);
    token->expires_at = sqlite3_column_int64(row, 4);
    token->life = sqlite3_column_int64(row, 5);
}

int token_take(void *self, const struct token *token)
{
    *(struct token *)self = *token;
    return 1;
}

/* Call row for the tokens that token_list names. 1 if row stopped it. */
static int token_each(struct connection *connection, const char *user, const char *id,
                      token_row *row, void *self, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_tokens,
                         VALUES(value_text(user), value_text(id), value_integer(db_now())),
                         &statement, err) < 0)
        return -1;
    int result = 0, stop = 0;
    while (!stop && (result = statement_step(statement, err)) > 0) {
        struct token token;
        token_fill(statement, &token);
        stop = row(self, &token);
    }
    statement_close(statement);
    return stop ? 1 : result;
}

int token_list(struct db_reader *reader, const char *user, const char *id, token_row *row,
               void *self, struct err *err)
{
    return token_each(&reader->connection, user, id, row, self, err) < 0 ? -1 : 0;
}

int token_rotate(struct db_writer *writer, const char *user, const char *id, const char *hash,
                 struct err *err)
{
    struct connection *connection = &writer->connection;
    const int64_t now = db_now(), end = now + (int64_t)TOKEN_GRACE_SECONDS * 1000000;
    struct token old;
    const int found = token_each(connection, user, id, token_take, &old, err);
    if (found <= 0)
        return found < 0 ? -1 : token_not_found(user, id, err);
    if (connection_run(connection, sql_end_token,
                       VALUES(value_text(user), value_text(id), value_integer(end)), err) < 0)
        return -1;
    char new_id[TOKEN_ID_MAX];
    token_id(hash, new_id);
    if (credential_store(writer, user, "token", hash, old.label, old.life ? now + old.life : 0,
                         err) < 0)
        return -1;
    return token_tell(writer, user, "token_rotate", id, new_id, err);
}

int credential_owner(struct db_reader *reader, const char *hash, char user[USER_NAME_MAX + 1],
                     struct err *err)
{
    sqlite3_stmt *statement;
    user[0] = '\0';
    if (connection_start(&reader->connection, sql_owner, VALUES(value_text(hash)), &statement,
                         err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, user, USER_NAME_MAX + 1);
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

int credential_user(struct db_reader *reader, const char *kind, const char *hash, struct user *out,
                    struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_user,
                         VALUES(value_text(hash), value_text(kind), value_integer(db_now())),
                         &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result == 0)
        result = err_set(err, ERR_UNAUTHORIZED,
                         "the %s is not known, has expired, or its user"
                         " is disabled",
                         kind);
    if (result > 0)
        user_fill(statement, out);
    statement_close(statement);
    return result < 0 ? -1 : 0;
}
