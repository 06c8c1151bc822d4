/* static: the files of the dashboard. */
#ifndef TOKENFATE_STATIC_H
#define TOKENFATE_STATIC_H

#include "server/http/request.h"

/* The handler of every path that no route owns. Pool. */
request_handler static_file;
/* 1 if there is a file at the request's path. */
int static_exists(const struct request *request);

#endif
