/* submit: POST /jobs: checks a spec, stores it durably as a job, answers the job. Pool
 * thread. */
#ifndef TOKENFATE_API_SUBMIT_H
#define TOKENFATE_API_SUBMIT_H

#include "server/http/request.h"

request_handler api_job_create;

#endif
