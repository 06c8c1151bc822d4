/* notify: who is told that a job succeeded, failed or is held, and the messages that are still to
 * be delivered. jobs.c stores a message in the transaction of the change that it tells, so none is
 * lost; server/notify delivers it, perhaps more than once, under one id.
 *
 * The jobs of a sweep tell nothing each: there is one message when none of them waits or runs any
 * more. Write functions run inside a db_operation, read functions on any reader. */
#ifndef TOKENFATE_NOTIFY_H
#define TOKENFATE_NOTIFY_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum {
    NOTIFY_TARGETS_MAX = 10, /* of one user, job or sweep */
    NOTIFY_URL_MAX = 2049,   /* bytes of an address, with its zero */
    NOTIFY_ID_MAX = 33,      /* 16 random bytes as hex */
    NOTIFY_SECRET_MAX = 80,  /* bytes of a secret's text, with its zero */
    NOTIFY_ERROR_MAX = 200   /* bytes that are kept of an error */
};

enum notify_format { NOTIFY_JSON, NOTIFY_SLACK, NOTIFY_NTFY, NOTIFY_FORMATS };
const char *notify_format_name(enum notify_format format);
/* -1: no format has this name. */
int notify_format_from_name(const char *name);

/* Bits of what a target is told. */
enum notify_event { NOTIFY_SUCCEEDED = 1, NOTIFY_FAILED = 2, NOTIFY_HELD = 4, NOTIFY_ALL = 7 };
/* Name of one bit. */
const char *notify_event_name(enum notify_event event);

struct notify_target {
    char id[NOTIFY_ID_MAX];
    char url[NOTIFY_URL_MAX];
    int events;
    enum notify_format format;
};
/* Targets that came with a job or a sweep. */
struct notify_list {
    int n;
    struct notify_target targets[NOTIFY_TARGETS_MAX];
};

/* Whose targets: exactly one is not NULL. */
struct notify_owner {
    const char *user, *job, *sweep; /* name, ids */
};
/* Add targets; their ids are made here. ERR_CONFLICT if the owner would have more than
 * NOTIFY_TARGETS_MAX. */
int notify_add(struct db_writer *writer, const struct notify_owner *owner, struct notify_list *list,
               struct err *err);
/* ERR_NOT_FOUND. */
int notify_remove(struct db_writer *writer, const char *user, const char *id, struct err *err);
int notify_targets(struct db_reader *reader, const struct notify_owner *owner,
                   struct notify_list *out, struct err *err);

/* Replace the key of a user's signatures. */
int notify_set_secret(struct db_writer *writer, const char *user, const char *secret,
                      struct err *err);
/* "" if there is none. */
int notify_secret(struct db_reader *reader, const char *user, char secret[NOTIFY_SECRET_MAX],
                  struct err *err);

/* The job is in this state from now on: store the messages that tell it. */
int notify_change(struct db_writer *writer, int64_t job, const char *state, struct err *err);

/* A message; texts are borrowed. */
struct notification {
    int64_t seq, created_at, tries, due_at; /* microseconds */
    const char *id, *subject, *user, *url, *body, *error;
    enum notify_format format;
};
typedef int notification_row(void *self, const struct notification *message);
/* Call row for the message that is due at `now` and was due first. 1: there was one. */
int notification_due(struct db_reader *reader, int64_t now, notification_row *row, void *self,
                     struct err *err);
/* Of a user, oldest first, at most `limit`; stops when row returns non-zero. */
int notification_list(struct db_reader *reader, const char *user, int limit, notification_row *row,
                      void *self, struct err *err);

/* The message was delivered, or is given up. */
int notification_done(struct db_writer *writer, int64_t seq, struct err *err);
/* A try failed: the next one is due at `due`; so are others for the same address, at the earliest. */
int notification_failed(struct db_writer *writer, int64_t seq, int64_t due, const char *error,
                        struct err *err);

#endif
