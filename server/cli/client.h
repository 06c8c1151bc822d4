/* client: one request of a command to the server that runs on the data folder. Called by
 * commands.c on the main thread.
 *
 * Address and secret come from the folder (data/address, data/secret): permission to read them
 * is permission to make the request. The secret goes to that address only: no proxy is used
 * and no redirect is followed. */
#ifndef TOKENFATE_CLIENT_H
#define TOKENFATE_CLIENT_H

#include <jansson.h>

#include "config/err.h"
#include "config/settings.h"

/* Make the request; path is below /api/v1, body is JSON or NULL.
 * 0: done; *answer is a new reference, NULL if the answer is empty.
 * 1: no server was reached and nothing was done; *err has the reason.
 * -1: *err is the server's problem, or ERR_TIMEOUT or ERR_IO, after which it is unknown whether
 * the server has done it. */
int client_request(const struct settings *settings, const char *method, const char *path,
                   const char *body, json_t **answer, struct err *err);

#endif
