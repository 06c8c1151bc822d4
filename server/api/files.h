/* files: GET /jobs/{id}/checkpoint, batch and log: files of a job. Pool. */
#ifndef TOKENFATE_API_FILES_H
#define TOKENFATE_API_FILES_H

#include "server/http/request.h"

request_handler api_checkpoint, api_checkpoint_config, api_batch, api_log;

#endif
