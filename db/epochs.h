/* epochs: the records of a job, one row per epoch: the record vector in float64
 * (config/record.h) and the mean log p of the tracked tokens in float32. Only the
 * worker that holds a job appends; epochs_read runs on any reader. */
#ifndef TOKENFATE_EPOCHS_H
#define TOKENFATE_EPOCHS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

/* Store the n records from epoch `from` on (record_grid.h; values [n][n_values], tokens
 * [n][n_tokens]),
 * advance jobs.epoch and write one `epoch` event, all in the operation's
 * transaction. Epochs that are stored already (a replay after a resume) must have
 * the same bits (record_same, and the tokens); they are neither stored nor
 * announced again. ERR_NONDETERMINISTIC names the first epoch that differs.
 * ERR_CONFLICT for a gap, an epoch without record or beyond the spec's last, or if the job is not
 * running; ERR_PROTOCOL if n_values or n_tokens are not the job's. */
int epochs_append(struct db_writer *writer, const char *job, int64_t from, int n,
                  const double *values, int n_values, const float *tokens, int n_tokens,
                  struct err *err);

/* Call row for every stored epoch in [from, to], ascending; stops when row returns
 * non-zero. Records have this program's layout, also those that an older program
 * stored. Pointers are valid during the call. An unknown job has no epochs. */
typedef int epochs_row(void *self, int64_t epoch, const double *values, int n_values,
                       const float *tokens, int n_tokens);
int epochs_read(struct db_reader *reader, const char *job, int64_t from, int64_t to,
                epochs_row *row, void *self, struct err *err);

/* Bytes that a record takes in the file of the database: its row, the pages that it leaves partly
 * empty, its entry in the index. */
int64_t epochs_row_bytes(int n_groups, int n_tokens);

#endif
