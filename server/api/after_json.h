/* after_json: the list `after` as requests and answers have it. Called by the handlers that submit,
 * change and show jobs, on any thread. */
#ifndef TOKENFATE_API_AFTER_JSON_H
#define TOKENFATE_API_AFTER_JSON_H

#include <jansson.h>

#include "config/emit.h"
#include "config/err.h"
#include "db/after.h"

enum { AFTER_JSON_SHOWN_MAX = 100 }; /* of the jobs that wait for one: a page lists them */

/* Read [{"job", "state"}]; `state` is "succeeded" or "any", without it "succeeded". pointer: of
 * the value in the request, a constant. *out: malloc. ERR_INVALID names every bad member. */
int after_json_read(const json_t *value, const char *pointer, struct after_list **out,
                    struct err *err);

/* Take `after` out of the body of a job, which is a spec beside it. *rest: the spec (malloc), NULL:
 * the body has no such member or is no object, and stays as it is; *out NULL then. */
int after_json_split(const char *body, size_t n, char **rest, struct after_list **out,
                     struct err *err);

/* Member `after` of the job, and with with_waiting `awaited_by`. */
int after_json_emit(struct emit *json, struct db_reader *reader, const char *id, int with_waiting,
                    struct err *err);

#endif
