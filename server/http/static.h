/* static: the files of the dashboard (share/web). http.c and the table of routes use it. */
#ifndef TOKENFATE_STATIC_H
#define TOKENFATE_STATIC_H

#include "server/http/request.h"

/* Handler of every path outside /api that no route has. Pool threads. */
request_handler static_file;
/* 1 if there is a file at the request's path. HTTP thread, for 405 instead of 404. */
int static_exists(const struct request *request);

#endif
