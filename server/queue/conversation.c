/* conversation: see conversation.h. */
#include "server/queue/conversation.h"

#include <string.h>

#include "config/clock.h"

int conversation_start(struct conversation *conversation, const struct settings *settings,
                       struct trainer_process *process, const struct message *run, struct err *err)
{
    *conversation = (struct conversation){.process = process,
                                          .heartbeat_ms = settings->heartbeat_seconds * 1000,
                                          .cancel_ms = settings->cancel_seconds * 1000,
                                          .heard_at = clock_monotonic_ms()};
    memcpy(conversation->job, run->job, sizeof conversation->job);
    return trainer_process_send(process, run, err);
}

int conversation_order(struct conversation *conversation, enum message_type order, struct err *err)
{
    struct message message = {.type = order};
    memcpy(message.job, conversation->job, sizeof message.job);
    conversation->order_deadline = clock_monotonic_ms() + conversation->cancel_ms;
    return trainer_process_send(conversation->process, &message, err);
}

/* Time at which the trainer is given up: the earlier one of the two deadlines. */
static int64_t conversation_ends(const struct conversation *conversation)
{
    const int64_t silence = conversation->heard_at + conversation->heartbeat_ms;
    const int64_t order = conversation->order_deadline;
    return order && order < silence ? order : silence;
}

static int conversation_give_up(const struct conversation *conversation, int64_t now,
                                struct err *err)
{
    if (conversation->order_deadline && now >= conversation->order_deadline)
        return err_set(err, ERR_TIMEOUT, "it did not obey within %lld seconds",
                       (long long)conversation->cancel_ms / 1000);
    return err_set(err, ERR_TIMEOUT, "it said nothing for %lld seconds",
                   (long long)conversation->heartbeat_ms / 1000);
}

int conversation_receive(struct conversation *conversation, int64_t until, int wake_fd,
                         struct message *out, struct err *err)
{
    int64_t now = clock_monotonic_ms(), ends = conversation_ends(conversation);
    const int64_t limit = until && until < ends ? until : ends;
    int got = now >= ends ? 0
                          : trainer_process_receive(conversation->process,
                                                    limit > now ? (int)(limit - now) : 0, wake_fd,
                                                    out, err);
    now = clock_monotonic_ms();
    if (got > 0)
        conversation->heard_at = now;
    else if (got == 0 && now >= ends)
        got = conversation_give_up(conversation, now, err);
    return got;
}
