/* users: user accounts, their bearer tokens and their browser sessions. Only SHA-256
 * hashes of tokens and session ids are stored. Functions that take a writer run
 * inside a db_operation. */
#ifndef TOKENFATE_USERS_H
#define TOKENFATE_USERS_H

#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "db/db.h"

enum {
    USER_NAME_MAX = 64,
    TOKEN_LABEL_MAX = 64,
    TOKEN_ID_MAX = 17, /* 16 hex digits and the terminating zero */
    /* A rotated token works for a minute more: scripts change over, and a client that lost
     * the answer rotates again. */
    TOKEN_GRACE_SECONDS = 60,
    TOKEN_SECONDS_MAX = 10 * 366 * 86400, /* of a life; who wants more sets no end */
    TOKENS_MAX = 100 /* of one user: more than machines and scripts, few enough to read */
};

/* Shares between which users still get their turns. */
#define USER_SHARE_MIN 0.01
#define USER_SHARE_MAX 100.0

struct user {
    char name[USER_NAME_MAX + 1];
    int admin, disabled;
    double share; /* of the devices, beside others' */
    int64_t created_at;
    int64_t uid; /* of the account of this machine that is the user (bindings.h), -1: none */
};

/* The public part of a token. Its id is the start of its hash, from which the token
 * cannot be computed. */
struct token {
    char id[TOKEN_ID_MAX], user[USER_NAME_MAX + 1], label[TOKEN_LABEL_MAX + 1];
    int64_t created_at, expires_at; /* expires_at 0: never */
    int64_t life;                   /* given at its making, in microseconds; 0: no end */
};

/* ERR_INVALID, pointer "/name" or "/label". */
int user_check_name(const char *name, struct err *err);
int token_check_label(const char *label, struct err *err);
/* ERR_INVALID, pointer "/expires_at": not in the next TOKEN_SECONDS_MAX. 0 (never) passes. */
int token_check_expiry(int64_t expires_at, struct err *err);

/* Names that the server gives: USER_LOCAL, an administrator, is everybody without
 * authentication and a command with the secret of the data folder, and owns the imported
 * texts; USER_FIRST is the administrator of the first start. A user who took one by
 * hand would own what belongs to the server. */
#define USER_LOCAL "local"
#define USER_FIRST "admin"

/* ERR_CONFLICT if a user has that name, or it is one of the two above in any case. */
int user_insert(struct db_writer *writer, const char *name, int admin, struct err *err);
/* Insert USER_FIRST. ERR_CONFLICT if it is there. */
int user_insert_first(struct db_writer *writer, struct err *err);
/* admin, disabled: 0 or 1, -1 leaves the value. Disabling holds the user's unfinished jobs,
 * enabling releases these (job_hold_all). ERR_CONFLICT if no enabled
 * administrator would be left; ERR_NOT_FOUND. */
int user_change(struct db_writer *writer, const char *name, int admin, int disabled,
                struct err *err);
/* share: USER_SHARE_MIN to USER_SHARE_MAX. ERR_INVALID, pointer "/share"; ERR_NOT_FOUND. */
int user_set_share(struct db_writer *writer, const char *name, double share, struct err *err);
int user_get(struct db_reader *reader, const char *name, struct user *out, struct err *err);
typedef int user_row(void *self, const struct user *user);
int user_list(struct db_reader *reader, user_row *row, void *self, struct err *err);

/* hash: hex SHA-256 of the token. expires_at 0: never. kind: "token" or "session".
 * The label of a session is the id of the token that it was exchanged for, and it ends with
 * that token; ERR_UNAUTHORIZED if the token was revoked or has expired. ERR_CONFLICT for a
 * disabled user, and for a user with TOKENS_MAX tokens. */
int credential_insert(struct db_writer *writer, const char *user, const char *kind,
                      const char *hash, const char *label, int64_t expires_at, struct err *err);
/* Revoke one credential by its hash. ERR_NOT_FOUND. */
int credential_revoke(struct db_writer *writer, const char *hash, struct err *err);

/* The id of the token with this hash. */
void token_id(const char *hash, char id[TOKEN_ID_MAX]);
/* Revoke a user's token and the sessions that it was exchanged for. ERR_NOT_FOUND. */
int token_revoke(struct db_writer *writer, const char *user, const char *id, struct err *err);
/* Insert a token with this hash in the place of a user's token: with its label, and with its
 * length of life, counted anew. The old one and its sessions end after TOKEN_GRACE_SECONDS.
 * ERR_NOT_FOUND; ERR_CONFLICT as of credential_insert. */
int token_rotate(struct db_writer *writer, const char *user, const char *id, const char *hash,
                 struct err *err);
/* Call row for every token that has not expired, oldest first; user, id: NULL matches all.
 * Stops when row returns non-zero. */
typedef int token_row(void *self, const struct token *token);
int token_list(struct db_reader *reader, const char *user, const char *id, token_row *row,
               void *self, struct err *err);
/* A token_row that copies the first token into the struct token `self` and stops. */
token_row token_take;

/* The credential of a request: kind "token" or "session" and its hash; kind NULL: the
 * request has none. */
struct credential {
    const char *kind;
    char hash[HASH_HEX];
};

/* Whose credential this is, also if it has expired or its user is disabled; "" if nobody's. */
int credential_owner(struct db_reader *reader, const char *hash, char user[USER_NAME_MAX + 1],
                     struct err *err);

/* The user of a credential. ERR_UNAUTHORIZED if the hash is unknown or expired or the
 * user is disabled. */
int credential_user(struct db_reader *reader, const char *kind, const char *hash, struct user *out,
                    struct err *err);

#endif
