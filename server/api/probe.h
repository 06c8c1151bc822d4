/* probe: POST /jobs/{id}/probe: next-token prediction of a stored model. Runs on a pool
 * thread. */
#ifndef TOKENFATE_API_PROBE_H
#define TOKENFATE_API_PROBE_H

#include "server/http/request.h"

request_handler api_probe;

#endif
