/* sweeps: sweeps, many jobs from one base that are stored together. Pool threads; cancel on
 * the HTTP thread. */
#ifndef TOKENFATE_API_SWEEPS_H
#define TOKENFATE_API_SWEEPS_H

#include "server/http/request.h"

request_handler api_sweep_create, api_sweep_list, api_sweep_show, api_sweep_cancel;

#endif
