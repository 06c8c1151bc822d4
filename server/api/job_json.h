/* job_json: a job as the API shows it, and the facts about its text that are
 * made at submit and stored with it: token counts, groups with their members,
 * closed forms. Facts are JSON:
 *   {"corpus_name", "tokens", "types", "once", "vocabulary", "mask",
 *    "tokens_per_epoch", "untrained",
 *    "groups": [{"name", "context_free", "ids": [...], "counts": [...]}]}
 * Any thread, with its own reader. */
#ifndef TOKENFATE_JOB_JSON_H
#define TOKENFATE_JOB_JSON_H

#include <stdio.h>

#include "config/err.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "server/datasets.h"

/* Facts of a spec on its text (malloc). NULL with ERR_NO_MEMORY. */
char *job_facts_print(const struct spec *spec, const char *corpus_name,
                      const struct datasets_use *text, struct err *err);

/* The job as one JSON object; its last record is read for the summary. Without
 * its spec in lists. */
int job_write_json(FILE *out, const struct job *job, struct db_reader *reader, int with_spec,
                   struct err *err);

#endif
