/* client: a command's request to the server that runs on the data folder. The
 * address and the secret are read from the folder, so that who may read those
 * may ask; no proxy and no redirect gets to see them. Main thread of a command. */
#ifndef TOKENFATE_CLIENT_H
#define TOKENFATE_CLIENT_H

#include <jansson.h>

#include "config/err.h"
#include "config/settings.h"

/* body: JSON, or NULL. 0: done, *answer is a new reference, NULL if the answer is
 * empty. 1: nobody is there, nothing was done; *err says why. -1: *err is what
 * the server said, or ERR_TIMEOUT, ERR_IO when nobody knows whether it was done. */
int client_request(const struct settings *settings, const char *method, const char *path,
                   const char *body, json_t **answer, struct err *err);

#endif
