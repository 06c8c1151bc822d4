/* metrics: GET /metrics in the text format of Prometheus. Runs on the pool. */
#ifndef TOKENFATE_API_METRICS_H
#define TOKENFATE_API_METRICS_H

#include "server/http/request.h"

request_handler api_metrics;

#endif
