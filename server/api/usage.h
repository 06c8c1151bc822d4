/* usage: GET /usage, what users, jobs or days have had of the devices. The route table calls it on
 * pool threads. */
#ifndef TOKENFATE_API_USAGE_H
#define TOKENFATE_API_USAGE_H

#include "server/http/request.h"

enum request_result api_usage(struct request *request);

#endif
