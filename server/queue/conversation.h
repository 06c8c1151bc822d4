/* conversation: with a trainer that holds a job: when its silence is too long, and what
 * happens after it was ordered to end. Used by a worker thread (job_run.h) and by
 * `tokenfate run`; one thread per object. */
#ifndef TOKENFATE_CONVERSATION_H
#define TOKENFATE_CONVERSATION_H

#include <stdint.h>

#include "config/err.h"
#include "config/message.h"
#include "config/settings.h"
#include "server/queue/trainer_process.h"

struct conversation {
    struct trainer_process *process;
    char job[MESSAGE_ID_MAX];
    int64_t heartbeat_ms, cancel_ms;
    int64_t heard_at;       /* ms; last message */
    int64_t order_deadline; /* ms; when an order must have been obeyed, 0: none was given */
};

/* Send the message that starts a job (`run`) and begin to listen. process is borrowed.
 * Errors as trainer_process_send. */
int conversation_start(struct conversation *conversation, const struct settings *settings,
                       struct trainer_process *process, const struct message *run, struct err *err);

/* Order the trainer to end the job (MESSAGE_CANCEL or MESSAGE_STOP). From now on only its
 * end counts: it has cancel_seconds. */
int conversation_order(struct conversation *conversation, enum message_type order, struct err *err);

/* The next message: 1 and *out, as trainer_process_receive; 0 when `until` (ms, 0: never)
 * has come or wake_fd is readable; -1 when the trainer is lost: ERR_TIMEOUT if it said
 * nothing for heartbeat_seconds or did not obey within cancel_seconds, else the error of
 * the socket. */
int conversation_receive(struct conversation *conversation, int64_t until, int wake_fd,
                         struct message *out, struct err *err);

#endif
