/* spectrum: GET /jobs/{id}/spectrum: log p of the whole vocabulary by count. Runs on a pool
 * thread. */
#ifndef TOKENFATE_API_SPECTRUM_H
#define TOKENFATE_API_SPECTRUM_H

#include "server/http/request.h"

request_handler api_spectrum;

#endif
