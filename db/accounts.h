/* accounts: what each user has had of each kind of device, the users' shares, and whether the queue
 * is open. What the numbers mean: server/queue/fair.h. Write functions run inside a db_operation,
 * on the writer thread; read functions run on any reader. */
#ifndef TOKENFATE_ACCOUNTS_H
#define TOKENFATE_ACCOUNTS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

struct account {
    char user[DB_ACTOR_MAX], kind[DB_DEVICE_MAX];
    double virtual, used; /* seconds */
    int64_t used_at;      /* microseconds, 0: never used */
    double share;         /* of the user; 1 without a row in users */
};

/* The account of account->user and kind; zeros if it has had nothing. */
int account_read(struct db_writer *writer, struct account *account, struct err *err);
int account_get(struct db_reader *reader, struct account *account, struct err *err);
/* All accounts, by kind and user; row returns not 0 to stop. */
int account_list(struct db_reader *reader, int (*row)(void *self, const struct account *account),
                 void *self, struct err *err);
/* Store all but the share. */
int account_write(struct db_writer *writer, const struct account *account, struct err *err);
/* Raise the virtual time to at least this. */
int account_raise(struct db_writer *writer, const struct account *account, struct err *err);

/* open: jobs start. draining: none starts. paused: none starts, and running ones stop with a
 * checkpoint and wait. */
enum queue_state { QUEUE_OPEN, QUEUE_DRAINING, QUEUE_PAUSED, QUEUE_STATES };
const char *queue_state_name(enum queue_state state);

/* actor: the user who asked for the state, "" for nobody. */
int queue_get(struct db_reader *reader, enum queue_state *state, char actor[DB_ACTOR_MAX],
              struct err *err);
/* With an entry of history if the state changes. */
int queue_set(struct db_writer *writer, enum queue_state state, struct err *err);

#endif
