/* health: GET /healthz and /readyz. Run on the HTTP thread. */
#ifndef TOKENFATE_API_HEALTH_H
#define TOKENFATE_API_HEALTH_H

#include "server/http/request.h"

request_handler api_healthz, api_readyz;

#endif
