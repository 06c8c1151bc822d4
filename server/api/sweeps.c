/* api_sweeps: jobs submitted together, and what they say together: per setting
 * the mean over seeds with its 95 % interval (lab/statistics), and the effect
 * against the first setting, seed by seed where seeds are shared. On pool
 * threads. */
#include "server/api/sweeps.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "config/hash.h"
#include "config/record.h"
#include "config/spec_kind.h"
#include "db/sweeps.h"
#include "lab/statistics.h"
#include "server/http/auth.h"
#include "server/api/curves.h"
#include "server/json.h"
#include "server/api/submission.h"
#include "server/api/sweep_plan.h"
#include "server/queue/workers.h"
#include "db/jobs.h"

enum { SWEEP_LIST_DEFAULT = 50, SWEEP_LIST_MAX = 200 };

/* ---- settings: the jobs of a sweep by what is varied, seeds aside ---- */

struct setting {
    json_t *fields; /* without seeds */
    json_t **seeds; /* [n] the seeds of each of its jobs */
    int *job;       /* [n] index into the sweep's jobs */
    int n;
};

struct settings_of_sweep {
    int n;
    struct setting *setting;
};

static void settings_drop(struct settings_of_sweep *all)
{
    for (int i = 0; i < all->n; i++) {
        json_decref(all->setting[i].fields);
        for (int j = 0; j < all->setting[i].n; j++)
            json_decref(all->setting[i].seeds[j]);
        free(all->setting[i].seeds), free(all->setting[i].job);
    }
    free(all->setting);
}

/* Takes fields and seeds over. */
static int settings_add(struct settings_of_sweep *all, json_t *fields, json_t *seeds, int job,
                        int n_jobs)
{
    struct setting *setting = all->setting;
    while (setting < all->setting + all->n && !json_equal(setting->fields, fields))
        setting++;
    if (setting == all->setting + all->n) {
        all->n++;
        setting->fields = json_incref(fields);
        setting->seeds = calloc((size_t)n_jobs, sizeof *setting->seeds);
        setting->job = calloc((size_t)n_jobs, sizeof *setting->job);
    }
    json_decref(fields);
    if (!setting->seeds || !setting->job) {
        json_decref(seeds);
        return -1;
    }
    setting->seeds[setting->n] = seeds;
    setting->job[setting->n++] = job;
    return 0;
}

static int settings_group(struct job *const *jobs, int n, struct settings_of_sweep *all,
                          struct err *err)
{
    const char *field;
    json_t *value;
    int failed = !(all->setting = calloc((size_t)n + 1, sizeof *all->setting));
    for (int j = 0; j < n && !failed; j++) {
        json_t *setting = jobs[j]->setting ? json_loads(jobs[j]->setting, 0, NULL) : NULL;
        json_t *fields = json_object(), *seeds = json_object();
        json_object_foreach(setting, field, value)
            json_object_set(sweep_plan_is_seed(field) ? seeds : fields, field, value);
        failed = settings_add(all, fields, seeds, j, n);
        json_decref(setting);
    }
    return failed ? err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", n) : 0;
}

/* ---- writing ---- */

static void write_statistics(FILE *out, const struct statistics *s)
{
    fprintf(out, "{\"n\":%d,\"mean\":", s->n);
    record_print_number(out, s->mean);
    fputs(",\"sd\":", out);
    record_print_number(out, s->sd);
    fputs(",\"half\":", out);
    record_print_number(out, s->half);
    putc('}', out);
}

static struct statistics over_seeds(const struct curves *curves, const struct setting *setting,
                                    int series, int point, double *scratch)
{
    for (int i = 0; i < setting->n; i++)
        scratch[i] = curves_of(curves, setting->job[i], series)[point];
    return statistics_of(scratch, setting->n, 1);
}

/* Differences to the first setting, over the seeds that both have. */
static struct statistics effect(const struct curves *curves, const struct setting *first,
                                const struct setting *setting, int series, double *scratch)
{
    const int point = curves->n_points - 1;
    int n = 0;
    for (int i = 0; i < setting->n; i++)
        for (int j = 0; j < first->n; j++)
            if (json_equal(setting->seeds[i], first->seeds[j])) {
                scratch[n++] = curves_of(curves, setting->job[i], series)[point] -
                               curves_of(curves, first->job[j], series)[point];
                break;
            }
    return statistics_of(scratch, n, 1);
}

static void write_states(FILE *out, const int64_t *jobs)
{
    fputs(",\"states\":{", out);
    for (int state = 0; state < JOB_STATES; state++)
        fprintf(out, "%s\"%s\":%lld", state ? "," : "", job_state_name((enum job_state)state),
                (long long)jobs[state]);
    putc('}', out);
}

static void write_jobs(FILE *out, const struct setting *setting, struct job *const *jobs)
{
    int64_t in_state[JOB_STATES] = {0};
    for (int i = 0; i < setting->n; i++)
        in_state[jobs[setting->job[i]]->state]++;
    write_states(out, in_state);
    fputs(",\"jobs\":[", out);
    for (int i = 0; i < setting->n; i++) {
        const struct job *job = jobs[setting->job[i]];
        fprintf(out, "%s{\"id\":\"%s\",\"state\":\"%s\",\"epoch\":", i ? "," : "", job->id,
                job_state_name(job->state));
        if (job->epoch >= 0)
            fprintf(out, "%lld", (long long)job->epoch);
        else
            fputs("null", out);
        fputs(",\"seeds\":", out);
        spec_dump(setting->seeds[i], out);
        putc('}', out);
    }
    putc(']', out);
}

static void write_series(FILE *out, const struct curves *curves, const struct setting *first,
                         const struct setting *setting, double *scratch)
{
    fputs(",\"series\":{", out);
    for (int s = 0; s < curves->n_series; s++) {
        struct statistics here = over_seeds(curves, setting, s, curves->n_points - 1, scratch);
        fputs(s ? ",\n" : "\n", out);
        json_write_string(out, curves->pointer[s]);
        fputs(":{\"value\":", out);
        write_statistics(out, &here);
        fputs(",\"effect\":", out);
        if (setting == first) {
            fputs("null}", out);
            continue;
        }
        here = effect(curves, first, setting, s, scratch);
        write_statistics(out, &here);
        putc('}', out);
    }
    putc('}', out);
}

static void write_column(FILE *out, const struct curves *curves, const struct setting *setting,
                         int series, size_t offset, double *scratch)
{
    for (int p = 0; p < curves->n_points; p++) {
        const struct statistics s = over_seeds(curves, setting, series, p, scratch);
        fputs(p ? "," : "", out);
        record_print_number(out, *(const double *)((const char *)&s + offset));
    }
}

static void write_curves(FILE *out, const struct curves *curves, const struct setting *setting,
                         double *scratch)
{
    fputs(",\"curves\":{", out);
    for (int s = 0; s < curves->n_series; s++) {
        fputs(s ? ",\n" : "\n", out);
        json_write_string(out, curves->pointer[s]);
        fputs(":{\"mean\":[", out);
        write_column(out, curves, setting, s, offsetof(struct statistics, mean), scratch);
        fputs("],\"half\":[", out);
        write_column(out, curves, setting, s, offsetof(struct statistics, half), scratch);
        fputs("]}", out);
    }
    putc('}', out);
}

static void write_head(FILE *out, const struct sweep *sweep)
{
    fprintf(out, "{\"id\":\"%s\",\"name\":", sweep->id);
    json_write_string(out, sweep->name);
    fputs(",\"user\":", out);
    json_write_string(out, sweep->user);
    fputs(",\"submitted_at\":", out);
    json_write_time(out, sweep->submitted_at);
    write_states(out, sweep->jobs);
    fprintf(out, ",\"links\":{\"self\":\"/api/v1/sweeps/%s\",\"jobs\":\"/api/v1/jobs?sweep=%s\"}",
            sweep->id, sweep->id);
}

/* ---- reading one ---- */

struct look {
    struct sweep *sweep;
    struct job **jobs;
    int n;
    struct settings_of_sweep settings;
    struct curves curves;
    double *scratch;
    int has_curves;
};

static void look_free(struct look *look)
{
    sweep_free(look->sweep);
    for (int j = 0; j < look->n; j++)
        job_free(look->jobs[j]);
    free(look->jobs);
    settings_drop(&look->settings);
    curves_free(&look->curves);
    free(look->scratch);
}

/* The last epoch that every job with records has, -1: there is none. */
static int64_t shared_epoch(const struct look *look, int with_broken_off)
{
    int64_t epoch = -1;
    for (int j = 0; j < look->n; j++) {
        const struct job *job = look->jobs[j];
        const int broke_off = job->state == JOB_FAILED || job->state == JOB_CANCELLED;
        if (job->epoch >= 0 && (!broke_off || with_broken_off) && (epoch < 0 || job->epoch < epoch))
            epoch = job->epoch;
    }
    return epoch;
}

/* Where settings are compared: a job that broke off early does not hold the others
 * back, unless there are only such. */
static int64_t common_epoch(const struct look *look)
{
    int64_t epoch = shared_epoch(look, 0);
    if (epoch < 0)
        epoch = shared_epoch(look, 1);
    return epoch < 0 ? 0 : epoch;
}

static int look_at(const struct request *request, const char *id, struct look *look,
                   struct err *err)
{
    int64_t epoch, points;
    if (sweep_get(request->reader, id, &look->sweep, err) ||
        job_of_sweep(request->reader, id, &look->jobs, &look->n, err) ||
        settings_group(look->jobs, look->n, &look->settings, err))
        return -1;
    if (!look->n) /* deleted with its last job between the two readings */
        return err_set(err, ERR_NOT_FOUND, "there is no sweep %s", id);
    request_query_int(request, "epoch", 0, SPEC_EPOCHS_MAX, common_epoch(look), &epoch, err);
    request_query_int(request, "points", 1, CURVES_POINTS_MAX, 1, &points, err);
    if (err->n_fields)
        return -1;
    look->has_curves = request_query(request, "points") != NULL;
    if (!(look->scratch = calloc((size_t)look->n, sizeof *look->scratch)))
        return err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", look->n);
    return curves_read(request->reader, look->jobs, look->n, request_query(request, "series"),
                       epoch, (int)points, &look->curves, err);
}

static void write_look(FILE *out, const struct look *look)
{
    const struct curves *curves = &look->curves;
    write_head(out, look->sweep);
    fputs(",\"base\":", out);
    json_write_raw(out, look->sweep->base);
    fputs(",\"vary\":", out);
    json_write_raw(out, look->sweep->vary);
    fprintf(out, ",\"epoch\":%lld", (long long)curves->epoch[curves->n_points - 1]);
    if (look->has_curves) {
        fputs(",\"epochs\":[", out);
        for (int p = 0; p < curves->n_points; p++)
            fprintf(out, "%s%lld", p ? "," : "", (long long)curves->epoch[p]);
        putc(']', out);
    }
    fputs(",\"settings\":[", out);
    for (int i = 0; i < look->settings.n; i++) {
        const struct setting *setting = &look->settings.setting[i];
        fputs(i ? ",\n{\"setting\":" : "\n{\"setting\":", out);
        spec_dump(setting->fields, out);
        write_jobs(out, setting, look->jobs);
        write_series(out, curves, look->settings.setting, setting, look->scratch);
        if (look->has_curves)
            write_curves(out, curves, setting, look->scratch);
        putc('}', out);
    }
    fputs("]}\n", out);
}

static enum request_result answer_head(struct request *request, const struct sweep *sweep,
                                       unsigned status)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    write_head(buffer.out, sweep);
    fputs("}\n", buffer.out);
    return request_close_reply(request, &buffer, status, MEDIA_JSON);
}

/* stored: the sweep as it was just written, or NULL: it is answered in any case,
 * without its numbers if they cannot be read. */
static enum request_result answer(struct request *request, const char *id,
                                  const struct sweep *stored, unsigned status)
{
    struct look look = {0};
    struct request_buffer buffer;
    err_clear(&request->err);
    if (look_at(request, id, &look, &request->err)) {
        if (stored)
            answer_head(request, stored, status);
        else
            request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        write_look(buffer.out, &look);
        request_close_reply(request, &buffer, status, MEDIA_JSON);
    }
    look_free(&look);
    return REQUEST_DONE;
}

enum request_result api_sweep_show(struct request *request)
{
    return answer(request, request->params[0], NULL, 200);
}

/* ---- GET /sweeps ---- */

enum request_result api_sweep_list(struct request *request)
{
    struct sweep **sweeps = NULL;
    struct request_buffer buffer;
    int64_t limit, cursor;
    int n = 0;
    request_query_int(request, "limit", 1, SWEEP_LIST_MAX, SWEEP_LIST_DEFAULT, &limit,
                      &request->err);
    request_query_int(request, "cursor", 1, INT64_MAX, 0, &cursor, &request->err);
    if (request->err.n_fields ||
        sweep_list(request->reader, cursor, (int)limit + 1, &sweeps, &n, &request->err))
        return request_fail(request, &request->err);
    if (!request_open(request, &buffer)) {
        fputs("{\"sweeps\":[", buffer.out);
        for (int i = 0; i < n && i < limit; i++) {
            fputs(i ? ",\n" : "\n", buffer.out);
            write_head(buffer.out, sweeps[i]);
            putc('}', buffer.out);
        }
        if (n > limit)
            fprintf(buffer.out, "],\"next\":\"%lld\"}\n", (long long)sweeps[limit - 1]->seq);
        else
            fputs("],\"next\":null}\n", buffer.out);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    for (int i = 0; i < n; i++)
        sweep_free(sweeps[i]);
    free(sweeps);
    return REQUEST_DONE;
}

/* ---- POST /sweeps ---- */

struct post {
    struct sweep sweep;
    struct sweep_plan *plan;
    struct job *jobs; /* [plan->n] */
    char *key;
    char body_sha256[HASH_HEX];
    int64_t max_queue;
    int existing;
};

static void post_free(void *state)
{
    struct post *post = state;
    for (int j = 0; post->jobs && j < post->plan->n; j++)
        submission_free(&post->jobs[j]);
    free(post->jobs);
    sweep_plan_free(post->plan);
    free(post->sweep.user);
    free(post->key);
    free(post);
}

/* Every job is built before one is stored. */
static int post_build(const struct request *request, struct post *post, struct err *err)
{
    struct sweep_plan *plan = post->plan;
    for (int j = 0; j < plan->n; j++) {
        struct err bad;
        err_clear(&bad);
        if (submission_build(request, plan->spec[j], &post->jobs[j], &bad)) {
            sweep_plan_blame(plan, j, &bad, err);
            if (!bad.n_fields)
                return -1;
            continue;
        }
        post->jobs[j].sweep = strdup(post->sweep.id);
        post->jobs[j].setting = strdup(plan->setting[j]);
        if (!post->jobs[j].sweep || !post->jobs[j].setting)
            return err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
    }
    return err->n_fields ? -1 : sweep_plan_check_distinct(plan, err);
}

/* 1 if the same request came before, as a sweep. */
static int post_known(const struct request *request, struct post *post, struct err *err)
{
    struct job *job = NULL;
    const int known = submission_known(request, post->key, post->body_sha256, &job, err);
    post->existing = known > 0 && job->sweep;
    if (post->existing)
        snprintf(post->sweep.id, sizeof post->sweep.id, "%s", job->sweep);
    job_free(job);
    return known < 0 ? -1 : post->existing;
}

static int post_check(struct request *request, struct post *post, struct err *err)
{
    uuid_t uuid;
    uuid_generate(uuid);
    uuid_unparse_lower(uuid, post->sweep.id);
    post->max_queue = request->server->settings.max_queue;
    if (sweep_plan_parse(request->body, request->n_body, &post->plan, err))
        return -1;
    if (post->plan->n > post->max_queue)
        return err_field(err, "/vary", "%d jobs never fit: this server's queue takes %lld at most",
                         post->plan->n, (long long)post->max_queue);
    post->sweep.name = post->plan->name;
    post->sweep.base = post->plan->base;
    post->sweep.vary = post->plan->vary;
    post->sweep.user = strdup(request->user.name);
    post->jobs = calloc((size_t)post->plan->n, sizeof *post->jobs);
    if (!post->jobs || !post->sweep.user)
        return err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
    return post_build(request, post, err);
}

static int post_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct post *post = arg;
    post->sweep.jobs[JOB_QUEUED] = post->plan->n;
    return sweep_insert(writer, &post->sweep, post->jobs, post->plan->n, post->key,
                        post->body_sha256, post->max_queue, &post->existing, err);
}

static enum request_result post_stored(struct request *request)
{
    struct post *post = request->state;
    char location[64];
    if (request->result)
        return request_fail(request, &request->err);
    if (!post->existing)
        workers_wake(request->server->workers);
    answer(request, post->sweep.id, post->existing ? NULL : &post->sweep,
           post->existing ? 200 : 201);
    snprintf(location, sizeof location, "/api/v1/sweeps/%s", post->sweep.id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

enum request_result api_sweep_create(struct request *request)
{
    struct post *post = calloc(1, sizeof *post);
    const char *key = request_head(request, "Idempotency-Key");
    if (!post || (key && !(post->key = strdup(key)))) {
        free(post);
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a sweep");
        return request_fail(request, &request->err);
    }
    request->state = post;
    request->free_state = post_free;
    hash_sha256(request->body, request->n_body, post->body_sha256);
    const int known = post_known(request, post, &request->err);
    if (known > 0)
        return post_stored(request);
    if (known < 0 || post_check(request, post, &request->err))
        return request_fail(request, &request->err);
    return request_submit(request, post_store, post, post_stored);
}

/* ---- POST /sweeps/{id}/cancel ---- */

static int cancel_store(struct db_writer *writer, void *arg, struct err *err)
{
    int n;
    return sweep_cancel(writer, arg, &n, err);
}

/* The sweep without its numbers: this runs on the HTTP thread. */
static enum request_result cancel_done(struct request *request)
{
    struct sweep *sweep = NULL;
    if (request->result)
        return request_fail(request, &request->err);
    workers_wake(request->server->workers);
    if (sweep_get(request->reader, request->params[0], &sweep, &request->err))
        return request_fail(request, &request->err);
    answer_head(request, sweep, 200);
    sweep_free(sweep);
    return REQUEST_DONE;
}

enum request_result api_sweep_cancel(struct request *request)
{
    struct sweep *sweep = NULL;
    char *id = strdup(request->params[0]);
    request->state = id;
    request->free_state = free;
    int refused = !id ? err_set(&request->err, ERR_NO_MEMORY, "no memory for a change")
                      : sweep_get(request->reader, id, &sweep, &request->err) ||
                            auth_may_change(request, sweep->user, &request->err);
    sweep_free(sweep);
    if (refused)
        return request_fail(request, &request->err);
    return request_submit(request, cancel_store, id, cancel_done);
}
