/* job_text: what the row of a job holds of its text: groups, exact memory and facts. They are
 * made when a job is submitted (api/submission.c) or, if its text is not read by then, when it
 * is (queue/reading.c). Any thread.
 *
 * Facts are JSON that is stored with the job, so that answers need no text and no tokenizer:
 *   {"corpus_name", "tokens", "held_out", "types", "once", "vocabulary", "mask",
 *    "tokens_per_epoch", "untrained",
 *    "groups": [{"name", "context_free", "ids": [...], "counts": [...]}]}
 * Of an unread text they hold the name alone. */
#ifndef TOKENFATE_JOB_TEXT_H
#define TOKENFATE_JOB_TEXT_H

#include "config/err.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "server/datasets.h"

/* Replace n_groups, n_tokens, memory_bytes, model_bytes, work, facts and group_names (malloc), and
 * clear `unread`.
 * ERR_NO_MEMORY, also for a model that no machine holds. */
int job_text_fill(struct job *job, const struct spec *spec, const char *corpus_name,
                  const struct datasets_use *text, struct err *err);

/* The same for a job whose text is still to be read: no groups, no memory, `unread` set. */
int job_text_leave_open(struct job *job, const char *corpus_name, struct err *err);

/* What a job computes. ERR_NO_MEMORY. */
int job_text_work(const struct spec *spec, int vocab, int64_t steps_per_epoch, int n_tokens,
                  struct job_work *out, struct err *err);

#endif
