/* series: GET /jobs/{id}/epochs?points=&series=: single curves of a job in buckets. Pool
 * thread. */
#ifndef TOKENFATE_API_SERIES_H
#define TOKENFATE_API_SERIES_H

#include "db/jobs.h"
#include "server/http/request.h"

/* Answers for a job that epochs.c has looked up and keeps. */
enum request_result api_series(struct request *request, const struct job *job);

#endif
