/* conversation: the messages between this process and a trainer that holds a job, and their
 * two deadlines: how long the trainer may be silent, and how long it may take to obey an
 * order. Used by a worker thread (job_run.c) and by `tokenfate run` (cli/run.c); one thread
 * per object. Times are milliseconds of the monotonic clock. */
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
    int64_t heartbeat_ms, cancel_ms; /* the settings heartbeat_seconds, cancel_seconds */
    int64_t heard_at;                /* time of the last message */
    int64_t order_deadline;          /* deadline of the order, 0: none was given */
};

/* Send the message that starts a job (`run`); the silence is counted from here. process is
 * borrowed. Errors as trainer_process_send. */
int conversation_start(struct conversation *conversation, const struct settings *settings,
                       struct trainer_process *process, const struct message *run, struct err *err);

/* Order the trainer to end the job (MESSAGE_CANCEL or MESSAGE_STOP) within cancel_seconds.
 * Other messages do not extend that deadline. */
int conversation_order(struct conversation *conversation, enum message_type order, struct err *err);

/* Receive the next message: 1 and *out, as trainer_process_receive; 0 when `until` (0: never)
 * has come or wake_fd is readable; -1 when the trainer is lost: ERR_TIMEOUT if it was silent
 * for heartbeat_seconds or did not obey within cancel_seconds, else the error of the
 * socket. */
int conversation_receive(struct conversation *conversation, int64_t until, int wake_fd,
                         struct message *out, struct err *err);

#endif
