/* version: GET /version (HTTP thread) and /openapi.json (pool thread). */
#ifndef TOKENFATE_API_VERSION_H
#define TOKENFATE_API_VERSION_H

#include "server/http/request.h"

request_handler api_version, api_openapi;

#endif
