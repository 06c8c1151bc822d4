/* tokens: GET /jobs/{id}/tokens: histories of tracked tokens. Runs on a pool thread. */
#ifndef TOKENFATE_API_TOKENS_H
#define TOKENFATE_API_TOKENS_H

#include "server/http/request.h"

request_handler api_tokens;

#endif
