/* devices: GET /devices, POST /devices/{id}/qualify. HTTP thread. */
#ifndef TOKENFATE_API_DEVICES_H
#define TOKENFATE_API_DEVICES_H

#include "server/http/request.h"

request_handler api_devices, api_device_qualify;

#endif
