/* retention: GET /retention, what of the jobs is to go, and when. The route table calls it on pool
 * threads. */
#ifndef TOKENFATE_API_RETENTION_H
#define TOKENFATE_API_RETENTION_H

#include "server/http/request.h"

enum request_result api_retention(struct request *request);

#endif
