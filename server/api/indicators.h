/* indicators: GET /jobs/{id}/indicators: what the embedding rows of a stored model reveal
 * about the tokens. Runs on a pool thread. */
#ifndef TOKENFATE_API_INDICATORS_H
#define TOKENFATE_API_INDICATORS_H

#include "server/http/request.h"

request_handler api_indicators;

#endif
