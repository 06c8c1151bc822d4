/* bulk: POST /jobs/bulk: one action for all jobs that match a filter. Pool thread, which waits for
 * the writer and removes files. */
#ifndef TOKENFATE_API_BULK_H
#define TOKENFATE_API_BULK_H

#include "server/http/request.h"

request_handler api_jobs_bulk;

#endif
