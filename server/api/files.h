/* files: GET /jobs/{id}/checkpoint, checkpoint/config.json, batch and log. Run on pool
 * threads. */
#ifndef TOKENFATE_API_FILES_H
#define TOKENFATE_API_FILES_H

#include "server/http/request.h"

request_handler api_checkpoint, api_checkpoint_config, api_batch, api_log;

#endif
