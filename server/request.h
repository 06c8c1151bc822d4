/* request: what http.c and request.c share besides http.h: the two halves of
 * one machine. HTTP thread. */
#ifndef TOKENFATE_REQUEST_H
#define TOKENFATE_REQUEST_H

#include "server/http.h"

/* Percent-decode the path of request->target into segments. ERR_MALFORMED for a
 * broken escape, a zero byte or bytes that are not UTF-8; ERR_NOT_FOUND for more
 * parts than any route has. */
int request_split_path(struct request *request, struct err *err);

/* One more connection is owned by another thread. */
void http_count_suspended(struct http *http);

#endif
