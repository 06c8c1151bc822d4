/* probe_process: see probe_process.h. Starting a process for each probe costs some tenths
 * of a second; in return no model stays in memory and no device is occupied. */
#include "server/api/probe_process.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "config/message.h"
#include "server/queue/trainer_process.h"

enum { PROBE_PROCESS_GRACE_MS = 1000 }; /* for the trainer to exit by itself */

/* Held from before the trainer starts until it is reaped. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int read_answer(struct message *answer, const struct probe_process_question *question,
                       float *logp, struct err *err)
{
    if (answer->type == MESSAGE_FAILED)
        return err_set(err, err_from_name(answer->code), "%s", answer->text);
    if (answer->type != MESSAGE_PROBED || answer->n_values != question->vocab)
        return err_set(err, ERR_PROTOCOL, "the trainer answered a probe with something else");
    memcpy(logp, answer->payload, answer->payload_bytes);
    return 0;
}

static int talk(struct trainer_process *process, const struct probe_process_question *question,
                float *logp, struct err *err)
{
    struct message ask = {.type = MESSAGE_PROBE,
                          .spec = (char *)question->spec,
                          .dir = (char *)question->file,
                          .n_values = question->vocab,
                          .n_tokens = question->n,
                          .payload = question->ids,
                          .payload_bytes = (size_t)question->n * sizeof *question->ids};
    struct message answer = {0};
    snprintf(ask.job, sizeof ask.job, "%s", question->job);
    if (trainer_process_send(process, &ask, err) < 0)
        return -1;
    int got = trainer_process_receive(process, PROBE_PROCESS_SECONDS * 1000, -1, &answer, err);
    if (got == 0)
        err_set(err, ERR_TIMEOUT, "no answer from the model within %d s", PROBE_PROCESS_SECONDS);
    int failed = got > 0 ? read_answer(&answer, question, logp, err) : -1;
    message_clear(&answer);
    return failed;
}

int probe_process_ask(const struct settings *settings,
                      const struct probe_process_question *question, float *logp, struct err *err)
{
    struct trainer_process *process = NULL;
    if (pthread_mutex_trylock(&one_at_a_time) != 0)
        return err_set(err, ERR_TOO_MANY, "another probe is running");
    int failed = trainer_process_start(settings, "cpu", &process, err);
    if (!failed) {
        failed = talk(process, question, logp, err);
        trainer_process_end(process, failed ? 0 : PROBE_PROCESS_GRACE_MS, NULL, 0);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}
