/* notify_json: the list `notify` as requests and answers have it. Called by the handlers that submit
 * and show jobs and sweeps and by notify.c, on any thread. */
#ifndef TOKENFATE_NOTIFY_JSON_H
#define TOKENFATE_NOTIFY_JSON_H

#include <jansson.h>

#include "config/emit.h"
#include "config/err.h"
#include "db/notify.h"

/* Read {"url", "on", "format"}; without `on` everything is told, without `format` as json. pointer:
 * of the value in the request. ERR_INVALID names every bad member. */
int notify_json_read(const json_t *value, const char *pointer, struct notify_target *out,
                     struct err *err);

/* Take `notify`, a list of these, out of the body of a job or sweep: an address may hold a secret,
 * and everybody reads specs. *rest: the body without it (malloc), NULL: it has none, and stays as it
 * is. */
int notify_json_split(const char *body, size_t n, char **rest, struct notify_list *out,
                      struct err *err);
/* Add what was wrong with the list to what is wrong with the rest. -1 if something was. */
int notify_json_blame(const struct err *list, struct err *err);

/* An object of the open list; with_id: of a user, who removes it by that. The address is shown
 * without what may be a secret. */
void notify_json_emit(struct emit *json, const struct notify_target *target, int with_id);
/* Member `notify`: what came with the job or sweep. */
int notify_json_emit_list(struct emit *json, struct db_reader *reader,
                          const struct notify_owner *owner, struct err *err);

#endif
