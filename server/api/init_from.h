/* init_from: may a job start from the model of another one? Checked when it is
 * posted: the other job has succeeded and both models have the same tensors with
 * the same meaning. (That it cannot be deleted meanwhile is db/jobs' care, which
 * file it is the worker's.) Pool threads. */
#ifndef TOKENFATE_INIT_FROM_H
#define TOKENFATE_INIT_FROM_H

#include "config/err.h"
#include "config/spec.h"
#include "db/db.h"

/* 0 if the spec starts from no job, or may start from the one it names.
 * has_address: its corpus.id is an address; else nothing is said about the text.
 * ERR_INVALID: /init_from (no such job, or it has no last model), or every field
 * in which the two must agree. */
int init_from_check(struct db_reader *reader, const struct spec *spec, int has_address,
                    struct err *err);

#endif
