/* job_json: a job as the API shows it, the members that several answers share, and the
 * facts about a job's text.
 *
 * Facts are JSON that is made once at submit and stored with the job, so that later
 * answers need no text and no tokenizer:
 *   {"corpus_name", "tokens", "held_out", "types", "once", "vocabulary", "mask",
 *    "tokens_per_epoch", "untrained",
 *    "groups": [{"name", "context_free", "ids": [...], "counts": [...]}]}
 *
 * Called by the handlers of jobs, sweeps and comparisons, on a pool thread or the HTTP
 * thread, each with its own reader. No state of its own. */
#ifndef TOKENFATE_JOB_JSON_H
#define TOKENFATE_JOB_JSON_H

#include <jansson.h>

#include "config/emit.h"
#include "config/err.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "server/datasets.h"

/* Facts of a spec on its text (malloc). NULL with ERR_NO_MEMORY. */
char *job_json_facts(const struct spec *spec, const char *corpus_name,
                     const struct datasets_use *text, struct err *err);

/* The job as one object, an element of the open array or the outermost value. Its last
 * record is read for the summary. with_spec 0 leaves the spec out, for lists. -1: an
 * object may have been begun; the caller drops the answer. */
int job_json_emit(struct emit *json, const struct job *job, struct db_reader *reader, int with_spec,
                  struct err *err);

/* Member "epoch": the last stored epoch, null before the first. */
void job_json_emit_epoch(struct emit *json, const struct job *job);

/* A value of a spec, with the digits that a stored spec has; NULL is null. */
void job_json_emit_value(struct emit *json, const char *key, const json_t *value);

/* Member "next" of a list: the seq behind which the next page starts, as text; 0 (no
 * next page) is null. */
void job_json_emit_next(struct emit *json, int64_t seq);

#endif
