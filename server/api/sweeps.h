/* sweeps: sweeps, many jobs from one base that are stored together. Pool threads; changes on
 * the HTTP thread. */
#ifndef TOKENFATE_API_SWEEPS_H
#define TOKENFATE_API_SWEEPS_H

#include "server/http/request.h"

request_handler api_sweep_create, api_sweep_list, api_sweep_show;
request_handler api_sweep_patch, api_sweep_cancel;

#endif
