/* job_query: the search of a list of jobs, as one line of text (`q`):
 *
 *   lr<0.01 tie:untied tag:rare user:me -state:failed "two words" word 1f0c9d2e
 *
 * A term is a field, an operator (: = != < <= > >=) and a value, or a word. A value, and a word, may
 * stand in double quotes; behind `:` and `=` it may be several with commas between, of which one
 * suffices. A `-` before a term asks for the jobs that it does not fit. All terms must fit.
 * Fields: id (its beginning), name (a part of it), user (`me`), state, tag, sweep, device, priority,
 * attempt, epoch, loss; and each field of the spec by its dotted path, or by its last part where
 * no other has that (`train.lr`, `lr`). A word fits a job that has it in name, notes or a tag, or
 * whose id begins with it.
 *
 * Pure functions, any thread. */
#ifndef TOKENFATE_JOB_QUERY_H
#define TOKENFATE_JOB_QUERY_H

#include "config/err.h"

enum { JOB_QUERY_TERMS_MAX = 32 }; /* more is no person's search; each costs a look at each job */

/* Terms of a search as job_filter.terms has them (db/jobs.h): JSON (malloc) in *out. user: whom `me`
 * means. ERR_INVALID with the field `pointer` and what is wrong in it; ERR_NO_MEMORY. */
int job_query_parse(const char *text, const char *pointer, const char *user, char **out,
                    struct err *err);

#endif
