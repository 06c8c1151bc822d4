/* theory: GET /jobs/{id}/theory: closed forms beside measurements. Pool. */
#ifndef TOKENFATE_API_THEORY_H
#define TOKENFATE_API_THEORY_H

#include "server/http/request.h"

request_handler api_theory;

#endif
