/* users: people, their bearer tokens and their browser sessions. Only SHA-256
 * hashes of tokens and session ids are stored. */
#ifndef TOKENFATE_USERS_H
#define TOKENFATE_USERS_H

#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "db/db.h"

enum {
    USER_NAME_MAX = 64,
    TOKEN_LABEL_MAX = 64,
    TOKEN_ID_MAX = 17 /* an id and its zero */
};

struct user {
    char name[USER_NAME_MAX + 1];
    int admin, disabled;
    int64_t created_at;
};

/* A token as it can be shown: its id is the start of its hash, from which nobody
 * gets the token back. */
struct token {
    char id[TOKEN_ID_MAX], user[USER_NAME_MAX + 1], label[TOKEN_LABEL_MAX + 1];
    int64_t created_at;
};

/* ERR_INVALID, pointer "/name" or "/label". */
int user_check_name(const char *name, struct err *err);
int token_check_label(const char *label, struct err *err);

/* ERR_CONFLICT if there is one of that name. */
int user_insert(struct db_writer *writer, const char *name, int admin, struct err *err);
/* admin, disabled: 0 or 1, -1 leaves it. ERR_CONFLICT if that would leave no
 * administrator who is not disabled. */
int user_change(struct db_writer *writer, const char *name, int admin, int disabled,
                struct err *err);
int user_get(struct db_reader *reader, const char *name, struct user *out, struct err *err);
typedef int user_row(void *self, const struct user *user);
int user_list(struct db_reader *reader, user_row *row, void *self, struct err *err);

/* hash: hex SHA-256 of the token. expires_at 0: never. kind: "token" or "session";
 * a session's label is the id of the token it was got for, ERR_UNAUTHORIZED if
 * the user does not have that one any more. ERR_CONFLICT for a disabled user. */
int credential_insert(struct db_writer *writer, const char *user, const char *kind,
                      const char *hash, const char *label, int64_t expires_at, struct err *err);
/* One credential, by its hash. */
int credential_revoke(struct db_writer *writer, const char *hash, struct err *err);

void token_id(const char *hash, char id[TOKEN_ID_MAX]);
/* A user's token and the sessions it was exchanged for. */
int token_revoke(struct db_writer *writer, const char *user, const char *id, struct err *err);
/* Tokens, oldest first; user, id: only of this one, NULL any. */
typedef int token_row(void *self, const struct token *token);
int token_list(struct db_reader *reader, const char *user, const char *id, token_row *row,
               void *self, struct err *err);
/* The row that keeps the first one in the struct token `self`. */
token_row token_take;

/* What a client shows: "token" or "session" and its hash; kind NULL: neither. */
struct credential {
    const char *kind;
    char hash[HASH_HEX];
};

/* The user a hash belongs to, if it is known, not expired and not disabled.
 * ERR_UNAUTHORIZED. */
int credential_user(struct db_reader *reader, const char *kind, const char *hash, struct user *out,
                    struct err *err);

#endif
