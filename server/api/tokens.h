/* tokens: GET /jobs/{id}/tokens: histories of tracked tokens. Pool. */
#ifndef TOKENFATE_API_TOKENS_H
#define TOKENFATE_API_TOKENS_H

#include "server/http/request.h"

request_handler api_tokens;

#endif
