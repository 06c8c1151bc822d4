/* devices: GET /devices. HTTP thread. */
#ifndef TOKENFATE_API_DEVICES_H
#define TOKENFATE_API_DEVICES_H

#include "server/http/request.h"

request_handler api_devices;

#endif
