/* tokenize: POST /tokenize: a text as tokens. Runs on a pool thread. */
#ifndef TOKENFATE_API_TOKENIZE_H
#define TOKENFATE_API_TOKENIZE_H

#include "server/http/request.h"

request_handler api_tokenize;

#endif
