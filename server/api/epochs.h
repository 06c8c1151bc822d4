/* epochs: GET /jobs/{id}/epochs: records as JSON or CSV. Runs on a pool thread. */
#ifndef TOKENFATE_API_EPOCHS_H
#define TOKENFATE_API_EPOCHS_H

#include "server/http/request.h"

request_handler api_epochs;

#endif
