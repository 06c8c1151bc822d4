/* findings: GET /jobs/{id}/findings: the claims of the study, judged. Pool. */
#ifndef TOKENFATE_API_FINDINGS_H
#define TOKENFATE_API_FINDINGS_H

#include "server/http/request.h"

request_handler api_findings;

#endif
