/* findings: GET /jobs/{id}/findings: verdicts on the claims of the study. Runs on a pool
 * thread. */
#ifndef TOKENFATE_API_FINDINGS_H
#define TOKENFATE_API_FINDINGS_H

#include "server/http/request.h"

request_handler api_findings;

#endif
