/* series: GET /jobs/{id}/epochs?points=&series=: single curves in buckets. Pool. */
#ifndef TOKENFATE_API_SERIES_H
#define TOKENFATE_API_SERIES_H

#include "db/jobs.h"
#include "server/http/request.h"

/* The answer for a job that epochs.c has looked up. */
enum request_result api_series(struct request *request, const struct job *job);

#endif
