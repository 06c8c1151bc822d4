/* client: the sender of a request: where it comes from, the name that decides whose turn it
 * takes in the pool, and whether it still waits for the answer. */
#ifndef TOKENFATE_CLIENT_H
#define TOKENFATE_CLIENT_H

#include <stddef.h>

#include "server/http/address.h"
#include "server/http/request.h"

/* Where the request comes from. Of a request that a proxy of the setting trusted_proxies sends:
 * the rightmost address of X-Forwarded-For that is none of them, because what stands to the left
 * of it was written by that sender. HTTP thread, or the thread that owns the request. */
struct address client_address(const struct request *request);

/* 1 if nobody on the way can read the answer: the connection is TLS, or a trusted proxy says
 * that its own is (X-Forwarded-Proto). */
int client_is_private(const struct request *request);

/* Name of the user, or of the host (address_host; the account on the Unix socket) if the request identified no user: without
 * authentication all requests have the same user. HTTP thread. */
void client_name(const struct request *request, char out[REQUEST_CLIENT_MAX]);

/* 1 if the client of a parked request has closed its connection, or its sending half:
 * libmicrohttpd does not look at a suspended connection. The caller owns the request, so the
 * descriptor stays open. Any thread. */
int client_left(const struct request *request);
/* The same of a socket that is open. */
int client_left_socket(int fd);

/* Handlers of heavy routes ask between two units of their work, some milliseconds each. Of a GET
 * whose client has left nothing is wanted any more: 1, and request->abandoned is set, which
 * drops the answer whatever is set after it. 0 for other methods, which are carried out. */
int client_gave_up(struct request *request);
/* The same inside a read of records, each CLIENT_RECORDS_PER_LOOK of them. */
enum { CLIENT_RECORDS_PER_LOOK = 512 };
int client_gave_up_at(struct request *request, int64_t record);
/* The same as an error: ERR_CANCELLED. */
int client_check(struct request *request, struct err *err);

#endif
