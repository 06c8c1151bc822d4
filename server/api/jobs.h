/* jobs: GET, PATCH and DELETE of jobs, and the actions cancel, hold, release and retry.
 * List and DELETE run on a pool thread, the others on the HTTP thread. */
#ifndef TOKENFATE_API_JOBS_H
#define TOKENFATE_API_JOBS_H

#include "server/http/request.h"

request_handler api_job_list, api_job_show, api_job_patch, api_job_cancel, api_job_hold,
    api_job_release, api_job_retry, api_job_delete;

/* ERR_INVALID unless these are names of states, separated by commas. */
int jobs_check_states(const char *states, const char *pointer, struct err *err);

#endif
