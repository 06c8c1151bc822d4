/* init_from: check that a job may start from the model of another job: the other job has
 * succeeded and both models have the same tensors with the same meaning.
 *
 * api/submission calls it on pool threads with that thread's database reader. No state.
 * The result holds at the time of the check only: db/jobs protects the other job from
 * deletion, and the worker chooses the model file. */
#ifndef TOKENFATE_INIT_FROM_H
#define TOKENFATE_INIT_FROM_H

#include "config/err.h"
#include "config/spec.h"
#include "db/db.h"

/* 0 if the spec has no init_from, or may start from the job it names. has_address: 1 if
 * corpus.id is an address (a sha256); otherwise the texts are not compared. ERR_INVALID:
 * /init_from (no such job, or it has no last model), or every field that must agree and
 * does not. */
int init_from_check(struct db_reader *reader, const struct spec *spec, int has_address,
                    struct err *err);

#endif
