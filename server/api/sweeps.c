/* sweeps: the handlers of sweeps, jobs that are submitted together and read together. Per
 * setting the answer has the mean over seeds with its 95 % interval (lab/statistics), and
 * the effect: the difference to the first setting, over the seeds that both have.
 *
 * The handlers run on pool threads, but for cancel; what follows a durable operation runs on
 * the HTTP thread. Every job of a sweep is built before one is stored, and all are stored
 * by one operation. */
#include "server/api/link.h"
#include "server/api/notify_json.h"
#include "server/api/sweeps.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "config/hash.h"
#include "config/input.h"
#include "config/pointer.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "db/sweeps.h"
#include "lab/statistics.h"
#include "server/api/curves.h"
#include "server/api/job_json.h"
#include "server/api/limits.h"
#include "server/api/submission.h"
#include "server/api/sweep_plan.h"
#include "server/http/auth.h"
#include "server/http/client.h"
#include "server/queue/workers.h"

enum { SWEEP_LIST_DEFAULT = 50, SWEEP_LIST_MAX = 200 };

/* ---- settings: the jobs of a sweep, grouped by the varied fields without the seeds ---- */

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

/* Takes over the references to fields and seeds, also on failure. */
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

static void write_statistics(struct emit *json, const char *key, const struct statistics *s)
{
    emit_object(json, key);
    emit_integer(json, "n", s->n);
    emit_number(json, "mean", s->mean);
    emit_number(json, "sd", s->sd);
    emit_number(json, "half", s->half);
    emit_end(json);
}

/* scratch: room for a number of each job of the sweep. */
static struct statistics over_seeds(const struct curves *curves, const struct setting *setting,
                                    int series, int point, double *scratch)
{
    for (int i = 0; i < setting->n; i++)
        scratch[i] = curves_of(curves, setting->job[i], series)[point];
    return statistics_of(scratch, setting->n, 1);
}

/* Paired differences to the first setting, over the seeds that both have. */
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

static void write_states(struct emit *json, const int64_t *jobs)
{
    emit_object(json, "states");
    for (int state = 0; state < JOB_STATES; state++)
        emit_integer(json, job_state_name((enum job_state)state), jobs[state]);
    emit_end(json);
}

static void write_jobs(struct emit *json, const struct setting *setting, struct job *const *jobs)
{
    int64_t in_state[JOB_STATES] = {0};
    for (int i = 0; i < setting->n; i++)
        in_state[jobs[setting->job[i]]->state]++;
    write_states(json, in_state);
    emit_array(json, "jobs");
    for (int i = 0; i < setting->n; i++) {
        const struct job *job = jobs[setting->job[i]];
        emit_object(json, NULL);
        emit_text(json, "id", job->id);
        emit_text(json, "state", job_state_name(job->state));
        job_json_emit_epoch(json, job);
        job_json_emit_value(json, "seeds", setting->seeds[i]);
        emit_end(json);
    }
    emit_end(json);
}

static void write_series(struct emit *json, const struct curves *curves,
                         const struct setting *first, const struct setting *setting,
                         double *scratch)
{
    emit_object(json, "series");
    for (int s = 0; s < curves->n_series; s++) {
        struct statistics here = over_seeds(curves, setting, s, curves->n_points - 1, scratch);
        emit_object(json, curves->pointer[s]);
        write_statistics(json, "value", &here);
        if (setting == first) {
            emit_null(json, "effect");
        } else {
            here = effect(curves, first, setting, s, scratch);
            write_statistics(json, "effect", &here);
        }
        emit_end(json);
    }
    emit_end(json);
}

/* One member of struct statistics over the points. */
static void write_column(struct emit *json, const char *key, const struct curves *curves,
                         const struct setting *setting, int series, size_t offset, double *scratch)
{
    emit_array(json, key);
    for (int p = 0; p < curves->n_points; p++) {
        const struct statistics s = over_seeds(curves, setting, series, p, scratch);
        emit_number(json, NULL, *(const double *)((const char *)&s + offset));
    }
    emit_end(json);
}

static void write_curves(struct request *request, struct emit *json, const struct curves *curves,
                         const struct setting *setting, double *scratch)
{
    emit_object(json, "curves");
    for (int s = 0; s < curves->n_series && !client_gave_up(request); s++) {
        emit_object(json, curves->pointer[s]);
        write_column(json, "mean", curves, setting, s, offsetof(struct statistics, mean), scratch);
        write_column(json, "half", curves, setting, s, offsetof(struct statistics, half), scratch);
        emit_end(json);
    }
    emit_end(json);
}

/* The members that every answer about a sweep has, in the open object. root: of link.h. */
static void write_head(struct emit *json, const struct sweep *sweep, const char *root)
{
    char path[DB_ID_MAX + 64];
    emit_text(json, "id", sweep->id);
    emit_text(json, "name", sweep->name);
    emit_text(json, "user", sweep->user);
    emit_time(json, "submitted_at", sweep->submitted_at);
    if (sweep->max_running)
        emit_integer(json, "max_running", sweep->max_running);
    else
        emit_null(json, "max_running");
    write_states(json, sweep->jobs);
    emit_object(json, "links");
    snprintf(path, sizeof path, "%ssweeps/%s", root, sweep->id);
    emit_text(json, "self", path);
    snprintf(path, sizeof path, "%sjobs?sweep=%s", root, sweep->id);
    emit_text(json, "jobs", path);
    emit_end(json);
}

/* ---- reading one ---- */

struct look {
    struct sweep *sweep;
    struct job **jobs;
    int n;
    struct settings_of_sweep settings;
    struct curves curves;
    double *scratch; /* [n] */
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

/* The last epoch that every job with records has; -1 without records. */
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

/* The epoch at which settings are compared unless the request names one. Jobs that broke
 * off early count only if there are no others: they would pull the epoch down for all. */
static int64_t common_epoch(const struct look *look)
{
    int64_t epoch = shared_epoch(look, 0);
    if (epoch < 0)
        epoch = shared_epoch(look, 1);
    return epoch < 0 ? 0 : epoch;
}

static int look_at(struct request *request, const char *id, struct look *look, struct err *err)
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
    return curves_read(request, look->jobs, look->n, request_query(request, "series"), epoch,
                       (int)points, &look->curves, err);
}

static void write_look(struct request *request, struct emit *json, const struct look *look)
{
    const struct curves *curves = &look->curves;
    emit_object(json, NULL);
    write_head(json, look->sweep, link_root(request));
    emit_raw(json, "base", look->sweep->base);
    emit_raw(json, "vary", look->sweep->vary);
    const struct notify_owner owner = {.sweep = look->sweep->id};
    if (notify_json_emit_list(json, request->reader, &owner, &request->err))
        err_clear(&request->err); /* the numbers matter more */
    emit_integer(json, "epoch", curves->epoch[curves->n_points - 1]);
    if (look->has_curves)
        curves_emit_epochs(json, curves);
    emit_array(json, "settings");
    for (int i = 0; i < look->settings.n && !client_gave_up(request); i++) {
        const struct setting *setting = &look->settings.setting[i];
        emit_object(json, NULL);
        job_json_emit_value(json, "setting", setting->fields);
        write_jobs(json, setting, look->jobs);
        write_series(json, curves, look->settings.setting, setting, look->scratch);
        if (look->has_curves)
            write_curves(request, json, curves, setting, look->scratch);
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

static enum request_result answer_head(struct request *request, const struct sweep *sweep,
                                       unsigned status)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    write_head(&buffer.json, sweep, link_root(request));
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, status, MEDIA_JSON);
}

/* The sweep with its numbers. stored: the sweep that this request has just written, or NULL.
 * A stored sweep must be acknowledged: if its numbers cannot be read, the answer goes
 * without them. */
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
        write_look(request, &buffer.json, &look);
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

static void list_write(struct emit *json, struct sweep *const *sweeps, int n, int64_t limit,
                       const char *root)
{
    emit_object(json, NULL);
    emit_array(json, "sweeps");
    for (int i = 0; i < n && i < limit; i++) {
        emit_object(json, NULL);
        write_head(json, sweeps[i], root);
        emit_end(json);
    }
    emit_end(json);
    job_json_emit_next(json, n > limit ? sweeps[limit - 1]->seq : 0);
    emit_end(json);
}

/* One sweep more than the page holds tells whether a next page exists. */
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
        list_write(&buffer.json, sweeps, n, limit, link_root(request));
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
    const struct settings *settings;
    int existing;
    struct notify_list notify;
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

/* Builds every job before one is stored, so that one answer names every bad field. */
static int post_build(const struct request *request, struct post *post, struct err *err)
{
    struct sweep_plan *plan = post->plan;
    for (int j = 0; j < plan->n; j++) {
        struct err bad = ERR_INIT;
        if (submission_build(request, plan->spec[j], &post->jobs[j], &bad)) {
            sweep_plan_blame(plan, j, &bad, err);
            if (!bad.n_fields)
                return -1;
            continue;
        }
        post->jobs[j].sweep = strdup(post->sweep.id);
        post->jobs[j].setting = strdup(plan->setting[j]);
        post->jobs[j].after = plan->after;
        if (!post->jobs[j].sweep || !post->jobs[j].setting)
            return err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
    }
    return err->n_fields ? -1 : sweep_plan_check_distinct(plan, err);
}

/* 1 if the same request came before and made a sweep. */
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
    post->settings = &request->server->settings;
    char *rest = NULL;
    struct err list = ERR_INIT;
    notify_json_split(request->body, request->n_body, &rest, &post->notify, &list);
    const int unread = sweep_plan_parse(rest ? rest : request->body,
                                        rest ? strlen(rest) : request->n_body, &post->plan, err);
    free(rest);
    if (notify_json_blame(&list, err) || unread)
        return -1;
    if (post->plan->n > post->settings->max_queue)
        return err_field(err, "/vary", "%d jobs never fit: this server's queue takes %lld at most",
                         post->plan->n, (long long)post->settings->max_queue);
    if ((post->plan->after && after_check(request->reader, post->plan->after, err) &&
         !err->n_fields) ||
        api_limits_check_queued(request, post->plan->n, err))
        return -1;
    post->sweep.name = post->plan->name;
    post->sweep.base = post->plan->base;
    post->sweep.vary = post->plan->vary;
    post->sweep.max_running = post->plan->max_running;
    post->sweep.user = strdup(request->user.name);
    post->jobs = calloc((size_t)post->plan->n, sizeof *post->jobs);
    if (!post->jobs || !post->sweep.user)
        return err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
    return post_build(request, post, err)
               ? -1
               : api_limits_check(request, post->jobs, post->plan->n, err);
}

static int post_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct post *post = arg;
    post->sweep.jobs[JOB_QUEUED] = post->plan->n;
    for (int i = 0; i < post->plan->n; i++)
        if (submission_check_text(writer, &post->jobs[i], err))
            return -1;
    const struct notify_owner owner = {.sweep = post->sweep.id};
    if (sweep_insert(writer, &post->sweep, post->jobs, post->plan->n, post->key, post->body_sha256,
                     post->settings->max_queue, &post->existing, err))
        return -1;
    if (post->existing)
        return 0;
    return api_limits_stored(writer, post->settings, post->jobs, post->plan->n, err) ||
                   notify_add(writer, &owner, &post->notify, err)
               ? -1
               : 0;
}

static enum request_result post_stored(struct request *request)
{
    struct post *post = request->state;
    char location[64];
    if (request->result)
        return request_fail(request, &request->err);
    if (!post->existing)
        submission_wake(request);
    answer(request, post->sweep.id, post->existing ? NULL : &post->sweep,
           post->existing ? 200 : 201);
    snprintf(location, sizeof location, "%ssweeps/%s", link_root(request), post->sweep.id);
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

/* ---- changes: PATCH /sweeps/{id}, POST /sweeps/{id}/cancel ---- */

struct change {
    char id[DB_ID_MAX];
    int64_t max_running;
};

static int cancel_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct change *change = arg;
    int n;
    return sweep_cancel(writer, change->id, &n, err);
}

static int limit_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct change *change = arg;
    return sweep_limit(writer, change->id, change->max_running, err);
}

/* Answers without the numbers: on the HTTP thread, reading them would hold up every client. */
static enum request_result change_done(struct request *request)
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

/* A change of the path's sweep as the request's state, after checking that it exists and that the
 * user may change it. NULL: the request is answered. */
static struct change *change_begin(struct request *request)
{
    struct sweep *sweep = NULL;
    struct change *change = calloc(1, sizeof *change);
    request->state = change;
    request->free_state = free;
    const int refused =
        !change ? err_set(&request->err, ERR_NO_MEMORY, "no memory for a change")
                : sweep_get(request->reader, request->params[0], &sweep, &request->err) ||
                      auth_may_change(request, sweep->user, &request->err);
    if (!refused)
        snprintf(change->id, sizeof change->id, "%s", sweep->id);
    sweep_free(sweep);
    if (!refused)
        return change;
    request_fail(request, &request->err);
    return NULL;
}

enum request_result api_sweep_cancel(struct request *request)
{
    struct change *change = change_begin(request);
    return change ? request_submit(request, cancel_store, change, change_done) : REQUEST_DONE;
}

/* {"max_running": 2} is all that can change. */
static int patch_read(const struct request *request, int64_t *max_running, struct err *err)
{
    const char *key;
    json_t *value;
    json_t *patch = input_json(request->body ? request->body : "", request->n_body, 0, err);
    if (patch && !json_is_object(patch))
        err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    json_object_foreach(patch, key, value)
    {
        char pointer[ERR_POINTER_MAX];
        pointer_member(pointer, "", key);
        if (strcmp(key, "max_running") == 0)
            sweep_plan_read_limit(value, max_running, err);
        else
            err_field(err, pointer, "only max_running of a sweep can change");
    }
    if (err->code == ERR_NONE && !json_object_size(patch))
        err_field(err, "/max_running", "is missing: there is nothing else to change");
    json_decref(patch);
    return err->code == ERR_NONE ? 0 : -1;
}

enum request_result api_sweep_patch(struct request *request)
{
    struct change *change = change_begin(request);
    if (!change)
        return REQUEST_DONE;
    if (patch_read(request, &change->max_running, &request->err))
        return request_fail(request, &request->err);
    return request_submit(request, limit_store, change, change_done);
}
