/* session: login and logout of a browser, and the user of a request. HTTP thread. */
#ifndef TOKENFATE_API_SESSION_H
#define TOKENFATE_API_SESSION_H

#include "server/http/request.h"

request_handler api_session_create, api_session_delete, api_whoami;

#endif
