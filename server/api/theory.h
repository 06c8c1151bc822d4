/* theory: GET /jobs/{id}/theory: closed forms next to measurements. Runs on a pool thread. */
#ifndef TOKENFATE_API_THEORY_H
#define TOKENFATE_API_THEORY_H

#include "server/http/request.h"

request_handler api_theory;

#endif
