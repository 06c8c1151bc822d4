/* routes: see routes.h. */
#include "server/routes.h"

#include <stdio.h>
#include <string.h>

#include "server/api.h"

/* clang-format off */
const struct route routes[] = {
    {"POST", "/api/v1/jobs", api_job_create, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/jobs", api_job_list, ROUTE_SLOW | ROUTE_ETAG, "state,user,tag,sweep,q,limit,cursor"},
    {"GET", "/api/v1/jobs/{id}", api_job_show, ROUTE_ETAG, "wait"},
    {"PATCH", "/api/v1/jobs/{id}", api_job_patch, ROUTE_BODY_JSON, NULL},
    {"DELETE", "/api/v1/jobs/{id}", api_job_delete, ROUTE_SLOW, NULL},
    {"POST", "/api/v1/jobs/{id}/cancel", api_job_cancel, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/hold", api_job_hold, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/release", api_job_release, 0, NULL},
    {"POST", "/api/v1/jobs/{id}/retry", api_job_retry, 0, NULL},
    {"GET", "/api/v1/jobs/{id}/epochs", api_epochs, ROUTE_SLOW, "from,to,limit,format,points,series"},
    {"GET", "/api/v1/jobs/{id}/tokens", api_tokens, ROUTE_SLOW, "token,group,from,to,limit,format"},
    {"GET", "/api/v1/jobs/{id}/findings", api_findings, ROUTE_SLOW, "with"},
    {"GET", "/api/v1/jobs/{id}/indicators", api_indicators, ROUTE_SLOW, "epoch"},
    {"GET", "/api/v1/jobs/{id}/theory", api_theory, ROUTE_SLOW, "points"},
    {"GET", "/api/v1/jobs/{id}/checkpoint", api_checkpoint, ROUTE_SLOW, "epoch"},
    {"GET", "/api/v1/jobs/{id}/checkpoint/config.json", api_checkpoint_config, ROUTE_SLOW, NULL},
    {"GET", "/api/v1/jobs/{id}/batch", api_batch, ROUTE_SLOW, "epoch"},
    {"GET", "/api/v1/jobs/{id}/spectrum", api_spectrum, ROUTE_SLOW, "points,epoch,format"},
    {"POST", "/api/v1/jobs/{id}/probe", api_probe, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/jobs/{id}/log", api_log, ROUTE_SLOW, NULL},
    {"GET", "/api/v1/compare", api_compare, ROUTE_SLOW | ROUTE_ETAG, "jobs,series,points"},
    {"POST", "/api/v1/sweeps", api_sweep_create, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/sweeps", api_sweep_list, ROUTE_SLOW | ROUTE_ETAG, "limit,cursor"},
    {"GET", "/api/v1/sweeps/{id}", api_sweep_show, ROUTE_SLOW | ROUTE_ETAG, "series,points,epoch"},
    {"POST", "/api/v1/sweeps/{id}/cancel", api_sweep_cancel, 0, NULL},
    {"POST", "/api/v1/corpora", api_corpus_create, ROUTE_SLOW | ROUTE_BODY_FILE, "name"},
    {"GET", "/api/v1/corpora", api_corpus_list, ROUTE_ETAG, NULL},
    {"GET", "/api/v1/corpora/{id}", api_corpus_show, ROUTE_SLOW, "variant,tokenizer"},
    {"GET", "/api/v1/corpora/{id}/frequencies", api_corpus_frequencies, ROUTE_SLOW, "variant,tokenizer,limit"},
    {"GET", "/api/v1/presets", api_presets, ROUTE_ETAG, NULL},
    {"GET", "/api/v1/presets/{name}", api_preset, ROUTE_ETAG, NULL},
    {"POST", "/api/v1/tokenize", api_tokenize, ROUTE_SLOW | ROUTE_BODY_JSON, NULL},
    {"GET", "/api/v1/devices", api_devices, ROUTE_ETAG, NULL},
    {"GET", "/api/v1/events", api_events, 0, "jobs,after"},
    {"GET", "/api/v1/whoami", api_whoami, 0, NULL},
    {"POST", "/api/v1/session", api_session_create, ROUTE_OPEN | ROUTE_BODY_JSON, NULL},
    {"DELETE", "/api/v1/session", api_session_delete, 0, NULL},
    {"GET", "/api/v1/users", api_user_list, ROUTE_SLOW | ROUTE_ADMIN | ROUTE_ETAG, NULL},
    {"POST", "/api/v1/users", api_user_create, ROUTE_BODY_JSON | ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/users/{name}", api_user_show, ROUTE_ADMIN | ROUTE_ETAG, NULL},
    {"PATCH", "/api/v1/users/{name}", api_user_patch, ROUTE_BODY_JSON | ROUTE_ADMIN, NULL},
    {"POST", "/api/v1/users/{name}/tokens", api_user_token_create, ROUTE_BODY_JSON | ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/users/{name}/tokens/{id}", api_user_token_show, ROUTE_ADMIN | ROUTE_ETAG, NULL},
    {"DELETE", "/api/v1/users/{name}/tokens/{id}", api_user_token_delete, ROUTE_ADMIN, NULL},
    {"GET", "/api/v1/version", api_version, ROUTE_OPEN | ROUTE_ETAG, NULL},
    {"GET", "/api/v1/openapi.json", api_openapi, ROUTE_SLOW | ROUTE_OPEN, NULL},
    {"GET", "/healthz", api_healthz, ROUTE_OPEN, NULL},
    {"GET", "/readyz", api_readyz, ROUTE_OPEN, NULL},
    {"GET", "/metrics", api_metrics, 0, NULL},
    {"GET", "/", static_file, ROUTE_SLOW | ROUTE_OPEN, NULL},
};
/* clang-format on */

const size_t n_routes = sizeof routes / sizeof routes[0];

/* Web files live below every path that no route owns. */
static const struct route route_files = {"GET", "/", static_file, ROUTE_SLOW | ROUTE_OPEN, NULL};

static int route_matches(const char *path, char *const *segments, int n_segments,
                         const char **params)
{
    int n = 0, n_params = 0;
    for (const char *at = path + 1; *at; n++) {
        size_t length = strcspn(at, "/");
        if (n == n_segments)
            return 0;
        if (*at == '{')
            params[n_params++] = segments[n];
        else if (strlen(segments[n]) != length || strncmp(at, segments[n], length) != 0)
            return 0;
        at += length + (at[length] == '/');
    }
    return n == n_segments;
}

static int route_takes(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Paths below /api belong to the table alone. */
static int route_is_file(char *const *segments, int n_segments)
{
    return n_segments > 0 && strcmp(segments[0], "api") != 0;
}

const struct route *route_find(const char *method, char *const *segments, int n_segments,
                               const char **params, int *known)
{
    *known = ROUTE_UNKNOWN;
    for (size_t i = 0; i < n_routes; i++) {
        if (!route_matches(routes[i].path, segments, n_segments, params))
            continue;
        if (route_takes(&routes[i], method))
            return &routes[i];
        *known = ROUTE_KNOWN;
    }
    if (*known || !route_is_file(segments, n_segments))
        return NULL;
    *known = ROUTE_KNOWN_FILE;
    return route_takes(&route_files, method) ? &route_files : NULL;
}

void route_allow(char *const *segments, int n_segments, char *out, size_t n)
{
    const char *params[REQUEST_PARAMS_MAX];
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i <= n_routes && used < n; i++) {
        const struct route *route = i < n_routes ? &routes[i] : &route_files;
        int fits = i < n_routes ? route_matches(route->path, segments, n_segments, params)
                                : !used && route_is_file(segments, n_segments);
        if (fits)
            used +=
                (size_t)snprintf(out + used, n - used, "%s%s", used ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
}

int route_list_has(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        const char *word = at + strspn(at, " ");
        size_t trimmed = (size_t)(at + n - word);
        while (trimmed && word[trimmed - 1] == ' ')
            trimmed--;
        if (length && trimmed == length && strncmp(word, name, length) == 0)
            return 1;
        at += n + (at[n] == ',');
    }
    return 0;
}
