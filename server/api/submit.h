/* submit: POST /jobs: a spec is checked, stored durably, acknowledged. Pool. */
#ifndef TOKENFATE_API_SUBMIT_H
#define TOKENFATE_API_SUBMIT_H

#include "server/http/request.h"

request_handler api_job_create;

#endif
