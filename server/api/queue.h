/* queue: GET /queue, POST /queue/drain, /pause, /resume: whether jobs start, and what each user
 * has had. GET runs on a pool thread, the others on the HTTP thread. */
#ifndef TOKENFATE_API_QUEUE_H
#define TOKENFATE_API_QUEUE_H

#include "server/http/request.h"

request_handler api_queue, api_queue_drain, api_queue_pause, api_queue_resume;

#endif
