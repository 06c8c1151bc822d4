/* client: the sender of a request, as the pool sees it: a name that decides whose turn it
 * takes, and whether it still waits for the answer. */
#ifndef TOKENFATE_CLIENT_H
#define TOKENFATE_CLIENT_H

#include <stddef.h>

#include "server/http/request.h"

/* Name of the user, or of the address if the request identified no user: without
 * authentication all requests have the same user. An IPv6 address counts by its first 64
 * bits, because one host may use all addresses of such a network. HTTP thread. */
void client_name(const struct request *request, char out[REQUEST_CLIENT_MAX]);

/* 1 if the client of a parked request has closed its connection, or its sending half:
 * libmicrohttpd does not look at a suspended connection. The caller owns the request, so the
 * descriptor stays open. Any thread. */
int client_left(const struct request *request);

#endif
