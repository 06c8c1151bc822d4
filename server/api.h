/* api: the handlers that routes.c lists, one file per subject (api_*.c). A
 * handler trusts what its route's flags promise (body present, user known) and
 * checks everything else. */
#ifndef TOKENFATE_API_H
#define TOKENFATE_API_H

#include "db/jobs.h"
#include "server/http.h"

#define API_JSON "application/json"

enum { API_NUMBER_BYTES = 32 }; /* about what a number of an answer takes, with its name */

/* api_submit.c */
request_handler api_job_create;
/* api_jobs.c */
request_handler api_job_list, api_job_show, api_job_patch, api_job_cancel, api_job_hold,
    api_job_release, api_job_retry, api_job_delete;
/* api_epochs.c, api_series.c */
request_handler api_epochs;
enum request_result api_series(struct request *request, const struct job *job);
/* api_tokens.c */
request_handler api_tokens;
/* api_findings.c */
request_handler api_findings;
/* api_indicators.c */
request_handler api_indicators;
/* api_theory.c */
request_handler api_theory;
/* api_files.c */
request_handler api_checkpoint, api_checkpoint_config, api_batch, api_log;
/* api_probe.c, api_spectrum.c */
request_handler api_probe, api_spectrum;
/* api_sweeps.c, api_compare.c */
request_handler api_sweep_create, api_sweep_list, api_sweep_show, api_sweep_cancel, api_compare;
/* api_corpora.c */
request_handler api_corpus_create, api_corpus_list, api_corpus_show, api_corpus_frequencies;
/* api_events.c */
request_handler api_events;
/* api_session.c */
request_handler api_session_create, api_session_delete, api_whoami;
/* api_users.c */
request_handler api_user_list, api_user_create, api_user_show, api_user_patch,
    api_user_token_create, api_user_token_show, api_user_token_delete;
/* api_misc.c */
request_handler api_presets, api_preset, api_tokenize, api_devices, api_version, api_openapi;
/* api_health.c */
request_handler api_healthz, api_readyz, api_metrics;

/* static.c. Handler of everything else, web files; and is there one at this path? */
request_handler static_file;
int static_exists(const struct request *request);

#endif
