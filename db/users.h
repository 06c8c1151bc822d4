/* users: people, their bearer tokens and their browser sessions. Only SHA-256
 * hashes of tokens and session ids are stored. */
#ifndef TOKENFATE_USERS_H
#define TOKENFATE_USERS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum { USER_NAME_MAX = 64, TOKEN_LABEL_MAX = 64 };

struct user {
    char name[USER_NAME_MAX + 1];
    int admin, disabled;
    int64_t created_at;
};

int user_insert(struct db_writer *writer, const char *name, int admin, struct err *err);
int user_set_disabled(struct db_writer *writer, const char *name, int disabled, struct err *err);
typedef int user_row(void *self, const struct user *user);
int user_list(struct db_reader *reader, user_row *row, void *self, struct err *err);

/* hash: hex SHA-256 of the token. expires_at 0: never. kind: "token" or "session". */
int credential_insert(struct db_writer *writer, const char *user, const char *kind,
                      const char *hash, const char *label, int64_t expires_at, struct err *err);
int credential_revoke(struct db_writer *writer, const char *hash, struct err *err);

/* The user a hash belongs to, if it is known, not expired and not disabled.
 * ERR_UNAUTHORIZED. */
int credential_user(struct db_reader *reader, const char *kind, const char *hash, struct user *out,
                    struct err *err);

#endif
