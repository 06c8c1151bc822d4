/* probe: POST /jobs/{id}/probe: what a stored model says next. Pool. */
#ifndef TOKENFATE_API_PROBE_H
#define TOKENFATE_API_PROBE_H

#include "server/http/request.h"

request_handler api_probe;

#endif
