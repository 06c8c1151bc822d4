/* epochs: the records of a job, one row an epoch: float64 record vector
 * (config/record.h) and float32 mean log p of the tracked tokens. */
#ifndef TOKENFATE_EPOCHS_H
#define TOKENFATE_EPOCHS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

/* Store epochs from .. from+n-1 (values [n][n_values], tokens [n][n_tokens]),
 * move jobs.epoch on and write one `epoch` event, in the operation's
 * transaction. Epochs that are already stored (a replay after a resume) must be
 * the same bits (record_same, tokens too): ERR_NONDETERMINISTIC names the first
 * epoch that is not; they are neither stored nor announced again. ERR_CONFLICT
 * for a gap, an epoch beyond the spec's, or if the job is not running;
 * ERR_PROTOCOL if n_values or n_tokens are not the job's. */
int epochs_append(struct db_writer *writer, const char *job, int64_t from, int n,
                  const double *values, int n_values, const float *tokens, int n_tokens,
                  struct err *err);

/* Drop all epochs of a job and the events that told of them (a retry starts
 * anew). */
int epochs_clear(struct db_writer *writer, const char *job, struct err *err);

/* Call row for every stored epoch in [from, to], ascending; stops when row
 * returns non-zero. Records are in the present layout whatever program stored
 * them. Pointers are valid during the call. A job that is not there has none. */
typedef int epochs_row(void *self, int64_t epoch, const double *values, int n_values,
                       const float *tokens, int n_tokens);
int epochs_read(struct db_reader *reader, const char *job, int64_t from, int64_t to,
                epochs_row *row, void *self, struct err *err);

#endif
