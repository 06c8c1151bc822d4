/* submission: makes the row of a new job out of a spec: resolves the name of its text to
 * the text's address, checks the spec against the text, counts its memory. Stores
 * nothing. Called by submit.c and, for every job of a sweep, by sweeps.c, on a pool
 * thread. */
#ifndef TOKENFATE_SUBMISSION_H
#define TOKENFATE_SUBMISSION_H

#include "config/spec.h"
#include "db/jobs.h"
#include "server/http/request.h"

/* Fill *job, which is all zeros, for the request's user; spec->corpus.id becomes the text's
 * sha256. A job on a text that is still to be read is `unread`: what only the text can tell is
 * judged by queue/reading.c. ERR_INVALID with pointers into the spec. */
int submission_build(const struct request *request, struct spec *spec, struct job *job,
                     struct err *err);

/* The job that the same user's earlier request with the same body and Idempotency-Key made:
 * 1 (*out, job_free), 0 without a key or such a job, -1 on failure. Call it before every
 * other check: a repeated request gets its first answer even if the spec would be refused
 * by then. */
int submission_known(const struct request *request, const char *key, const char *body_sha256,
                     struct job **out, struct err *err);
/* ERR_INVALID (pointer: /corpus/id) if the text of the job was deleted since submission_build.
 * Run in the operation that inserts the job. */
int submission_check_text(struct db_writer *writer, const struct job *job, struct err *err);
/* Seconds of devices that a job gets which asks for so many, 0: it names none; *out 0: no limit.
 * ERR_INVALID with `pointer` if that is more than the setting max_seconds. */
int submission_seconds(const struct settings *settings, int64_t asked, const char *pointer,
                       int64_t *out, struct err *err);

/* Bytes that the records of a job will take in the database, -1: its text is still to be read. */
int64_t submission_record_bytes(const struct job *job);

/* Add the fields of `why` to those that are known to be bad. -1. */
int submission_blame(const struct err *why, struct err *err);

/* Wake who waits for new jobs. Call it after the commit. */
void submission_wake(const struct request *request);
/* Frees the strings of the job, not the job. */
void submission_free(struct job *job);

#endif
