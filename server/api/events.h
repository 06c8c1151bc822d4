/* events: GET /events: the event stream. HTTP thread. */
#ifndef TOKENFATE_API_EVENTS_H
#define TOKENFATE_API_EVENTS_H

#include "server/http/request.h"

request_handler api_events;

#endif
