/* tokenize: POST /tokenize. Pool. */
#ifndef TOKENFATE_API_TOKENIZE_H
#define TOKENFATE_API_TOKENIZE_H

#include "server/http/request.h"

request_handler api_tokenize;

#endif
