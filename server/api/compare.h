/* compare: GET /compare: jobs side by side. Pool thread. */
#ifndef TOKENFATE_API_COMPARE_H
#define TOKENFATE_API_COMPARE_H

#include "server/http/request.h"

request_handler api_compare;

#endif
