/* routes: see routes.h. A test compares the table with openapi.json, both ways. */
#include "server/api/routes.h"

#include "server/api/bulk.h"
#include "server/api/compare.h"
#include "server/api/corpora.h"
#include "server/api/devices.h"
#include "server/api/epochs.h"
#include "server/api/events.h"
#include "server/api/files.h"
#include "server/api/findings.h"
#include "server/api/health.h"
#include "server/api/history.h"
#include "server/api/indicators.h"
#include "server/api/jobs.h"
#include "server/api/login.h"
#include "server/api/metrics.h"
#include "server/api/notify.h"
#include "server/api/presets.h"
#include "server/api/probe.h"
#include "server/api/queue.h"
#include "server/api/retention.h"
#include "server/api/series.h"
#include "server/api/session.h"
#include "server/api/spectrum.h"
#include "server/api/submit.h"
#include "server/api/sweeps.h"
#include "server/api/theory.h"
#include "server/api/tokenize.h"
#include "server/api/tokens.h"
#include "server/api/usage.h"
#include "server/api/users.h"
#include "server/api/version.h"
#include "server/http/static.h"

/* clang-format off */
static const struct route routes[] = {
    {"POST", "/api/v1/jobs", api_job_create, ROUTE_SLOW | ROUTE_BODY_JSON, "dry_run"},
    {"GET", "/api/v1/jobs", api_job_list, ROUTE_SLOW | ROUTE_ETAG, "state*,user,tag,sweep,q,limit,cursor"},
    {"POST", "/api/v1/jobs/bulk", api_jobs_bulk, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/jobs/{id}", api_job_show, ROUTE_ETAG, "wait"},
    {"PATCH", "/api/v1/jobs/{id}", api_job_patch, ROUTE_BODY_JSON, NULL},
    {"DELETE", "/api/v1/jobs/{id}", api_job_delete, ROUTE_SLOW, NULL},
    {"POST", "/api/v1/jobs/{id}/cancel", api_job_cancel, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/hold", api_job_hold, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/release", api_job_release, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/retry", api_job_retry, 0, "from"},
    {"GET", "/api/v1/jobs/{id}/history", api_job_history, ROUTE_SLOW, "limit,cursor"},
    {"GET", "/api/v1/jobs/{id}/epochs", api_epochs, ROUTE_SLOW | ROUTE_HEAVY, "from,to,limit,format,points,series*"},
    {"GET", "/api/v1/jobs/{id}/tokens", api_tokens, ROUTE_SLOW | ROUTE_HEAVY, "token,group,from,to,limit,format"},
    {"GET", "/api/v1/jobs/{id}/findings", api_findings, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "with*"},
    {"GET", "/api/v1/jobs/{id}/indicators", api_indicators, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "epoch"},
    {"GET", "/api/v1/jobs/{id}/theory", api_theory, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "points"},
    {"GET", "/api/v1/jobs/{id}/checkpoint", api_checkpoint, ROUTE_SLOW, "epoch"},
    {"GET", "/api/v1/jobs/{id}/checkpoint/config.json", api_checkpoint_config, ROUTE_SLOW, NULL},
    {"GET", "/api/v1/jobs/{id}/batch", api_batch, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "epoch"},
    {"GET", "/api/v1/jobs/{id}/spectrum", api_spectrum, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "points,epoch,format"},
    {"POST", "/api/v1/jobs/{id}/probe", api_probe, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/jobs/{id}/log", api_log, ROUTE_SLOW, NULL},
    {"GET", "/api/v1/compare", api_compare, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "jobs*,series*,points"},
    {"POST", "/api/v1/sweeps", api_sweep_create, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/sweeps", api_sweep_list, ROUTE_SLOW | ROUTE_ETAG, "limit,cursor"},
    {"GET", "/api/v1/sweeps/{id}", api_sweep_show, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "series*,points,epoch"},
    {"PATCH", "/api/v1/sweeps/{id}", api_sweep_patch, ROUTE_BODY_JSON, NULL},
    {"POST", "/api/v1/sweeps/{id}/cancel", api_sweep_cancel, 0, NULL},
    {"POST", "/api/v1/corpora", api_corpus_create, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_BODY_FILE, "name,replace"},
    {"GET", "/api/v1/corpora", api_corpus_list, ROUTE_ETAG, NULL},
    {"GET", "/api/v1/corpora/{id}", api_corpus_show, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "variant,tokenizer"},
    {"DELETE", "/api/v1/corpora/{id}", api_corpus_delete, ROUTE_SLOW, NULL},
    {"GET", "/api/v1/corpora/{id}/frequencies", api_corpus_frequencies, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_ETAG, "variant,tokenizer,limit"},
    {"GET", "/api/v1/presets", api_presets, ROUTE_ETAG, NULL},
    {"GET", "/api/v1/presets/{name}", api_preset, ROUTE_ETAG, NULL},
    {"POST", "/api/v1/tokenize", api_tokenize, ROUTE_SLOW | ROUTE_HEAVY | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/queue", api_queue, ROUTE_SLOW, "user,limit,cursor"},
    {"POST", "/api/v1/queue/drain", api_queue_drain, ROUTE_ADMIN, NULL},
    {"POST", "/api/v1/queue/pause", api_queue_pause, ROUTE_ADMIN, NULL},
    {"POST", "/api/v1/queue/resume", api_queue_resume, ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/retention", api_retention, ROUTE_SLOW, "user,job,limit,cursor"},
    {"GET", "/api/v1/usage", api_usage, ROUTE_SLOW | ROUTE_HEAVY, "by,since,until,user,limit,cursor,format"},
    {"GET", "/api/v1/devices", api_devices, ROUTE_ETAG, NULL},
    {"POST", "/api/v1/devices/{id}/qualify", api_device_qualify, ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/events", api_events, 0, "jobs*,after"},
    {"GET", "/api/v1/whoami", api_whoami, 0, NULL},
    {"POST", "/api/v1/login", api_login, ROUTE_SLOW | ROUTE_OPEN, NULL},
    {"POST", "/api/v1/login/link", api_login_link, 0, NULL},
    {"POST", "/api/v1/session", api_session_create, ROUTE_OPEN | ROUTE_BODY_JSON, NULL},
    {"DELETE", "/api/v1/session", api_session_delete, 0, NULL},
    {"GET", "/api/v1/users", api_user_list, ROUTE_SLOW | ROUTE_ADMIN | ROUTE_ETAG, NULL},
    {"POST", "/api/v1/users", api_user_create, ROUTE_BODY_JSON | ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/users/{name}", api_user_show, ROUTE_ADMIN | ROUTE_ETAG, NULL},
    {"PATCH", "/api/v1/users/{name}", api_user_patch, ROUTE_BODY_JSON | ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/users/{name}/tokens", api_user_token_list, ROUTE_ETAG, NULL},
    {"POST", "/api/v1/users/{name}/tokens", api_user_token_create, ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/users/{name}/tokens/{id}", api_user_token_show, ROUTE_ETAG, NULL},
    {"DELETE", "/api/v1/users/{name}/tokens/{id}", api_user_token_delete, 0, NULL},
    {"POST", "/api/v1/users/{name}/tokens/{id}/rotate", api_user_token_rotate, 0, NULL},
    {"GET", "/api/v1/users/{name}/notify", api_notify_list, 0, NULL},
    {"POST", "/api/v1/users/{name}/notify", api_notify_create, ROUTE_BODY_JSON, NULL},
    {"DELETE", "/api/v1/users/{name}/notify/{id}", api_notify_delete, 0, NULL},
    {"POST", "/api/v1/users/{name}/notify_secret", api_notify_secret, 0, NULL},
    {"GET", "/api/v1/history", api_history, ROUTE_SLOW | ROUTE_ADMIN, "kind,object,actor,limit,cursor"},
    {"GET", "/api/v1/version", api_version, ROUTE_OPEN | ROUTE_ETAG, NULL},
    {"GET", "/api/v1/openapi.json", api_openapi, ROUTE_SLOW | ROUTE_OPEN, NULL},
    {"GET", "/healthz", api_healthz, ROUTE_OPEN, NULL},
    {"GET", "/readyz", api_readyz, ROUTE_OPEN, NULL},
    {"GET", "/metrics", api_metrics, ROUTE_SLOW, NULL},
    {"GET", "/", static_file, ROUTE_SLOW | ROUTE_OPEN, NULL},
};
/* clang-format on */

const struct route_table api_routes = {
    .routes = routes,
    .n = sizeof routes / sizeof routes[0],
    .files = {"GET", "/", static_file, ROUTE_SLOW | ROUTE_OPEN, NULL},
};
