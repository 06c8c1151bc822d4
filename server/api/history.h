/* history: who changed a job, and who changed anything. Pool threads. */
#ifndef TOKENFATE_API_HISTORY_H
#define TOKENFATE_API_HISTORY_H

#include "server/http/request.h"

request_handler api_job_history, api_history;

#endif
