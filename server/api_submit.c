/* api_submit: POST /jobs. On a pool thread: parse the spec, resolve its text,
 * check it against the text, count its memory; then one durable operation; then
 * the answer. Nothing is stored of a job that cannot run. */
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "config/hash.h"
#include "db/corpora.h"
#include "lab/memory.h"
#include "lab/text.h"
#include "server/api.h"
#include "server/datasets.h"
#include "server/job_changes.h"
#include "server/job_json.h"
#include "server/worker.h"

struct submit {
    struct job job;
    char *key;
    char body_sha256[HASH_HEX];
    int64_t max_queue;
    int existing;
};

static void submit_free(void *state)
{
    struct submit *submit = state;
    struct job *job = &submit->job;
    free(job->name), free(job->notes), free(job->tags), free(job->user), free(job->device);
    free(job->precision), free(job->spec), free(job->facts), free(job->group_names);
    free(job->corpus_sha256);
    free(submit->key);
    free(submit);
}

static int submit_key(struct request *request, struct submit *submit, struct err *err)
{
    const char *key = request_head(request, "Idempotency-Key");
    if (!key)
        return 0;
    if (!(submit->key = strdup(key)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a job");
    return 0;
}

/* Replace the name of the text by its address. */
static int submit_resolve(struct request *request, struct spec *spec, char *name, size_t n,
                          struct err *err)
{
    struct corpus corpus;
    struct err missing;
    snprintf(name, n, "%s", spec->corpus.id);
    if (strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0)
        return 0;
    err_clear(&missing);
    if (corpus_get(request->reader, spec->corpus.id, &corpus, &missing)) {
        if (missing.code == ERR_NOT_FOUND)
            return err_field(err, "/corpus/id", "there is no text \"%s\" on this server",
                             spec->corpus.id);
        *err = missing;
        return -1;
    }
    snprintf(name, n, "%s", corpus.name);
    snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", corpus.sha256);
    return 0;
}

static char *submit_group_names(const struct groups *groups)
{
    char *text = calloc((size_t)groups->n + 1, RECORD_NAME_MAX + 1);
    for (int g = 0; text && g < groups->n; g++) {
        strcat(text, g ? "\n" : "");
        strcat(text, groups->group[g].name);
    }
    return text;
}

static int submit_fill(struct submit *submit, const struct request *request,
                       const struct spec *spec, const struct datasets_use *text,
                       const char *corpus_name, struct err *err)
{
    struct job *job = &submit->job;
    uuid_t uuid;
    uuid_generate(uuid);
    uuid_unparse_lower(uuid, job->id);
    job->state = JOB_QUEUED;
    job->priority = spec->resources.priority;
    job->attempt = 1;
    job->epoch = -1;
    job->epochs = spec->train.epochs;
    job->max_attempts = spec->resources.max_attempts;
    job->n_groups = text->groups.n;
    job->n_tokens = text->groups.n_tokens;
    job->memory_bytes = memory_bytes(spec, spec->train.precision, text->text->frequency.vocab, err);
    if (job->memory_bytes < 0)
        return -1;
    if (!(job->facts = job_facts_print(spec, corpus_name, text, err)))
        return -1;
    job->name = strdup(spec->name);
    job->notes = strdup(spec->notes);
    job->tags = job_changes_tags(spec);
    job->user = strdup(request->user.name);
    job->device = strdup(spec->resources.device);
    job->precision = strdup(spec_precision_name(spec->train.precision));
    job->spec = spec_print(spec);
    job->group_names = submit_group_names(&text->groups);
    job->corpus_sha256 = strdup(spec->corpus.id);
    if (!job->name || !job->notes || !job->tags || !job->user || !job->device || !job->precision ||
        !job->spec || !job->group_names || !job->corpus_sha256)
        return err_set(err, ERR_NO_MEMORY, "no memory for a job");
    return 0;
}

static int submit_check(struct request *request, struct submit *submit, struct err *err)
{
    struct spec *spec = NULL;
    struct datasets_use text;
    char name[SPEC_CORPUS_MAX + 1];
    if (submit_key(request, submit, err) ||
        spec_parse(request->body ? request->body : "", request->n_body, &spec, err))
        return -1;
    int failed = spec_supported(spec, err) ||
                 submit_resolve(request, spec, name, sizeof name, err) ||
                 datasets_get(request->server->datasets, spec, &text, err);
    if (!failed) {
        failed = submit_fill(submit, request, spec, &text, name, err);
        datasets_release(request->server->datasets, &text);
    }
    spec_free(spec);
    return failed ? -1 : 0;
}

static int submit_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct submit *submit = arg;
    return job_insert(writer, &submit->job, submit->key, submit->body_sha256, submit->max_queue,
                      &submit->existing, err);
}

static enum request_result submit_stored(struct request *request)
{
    struct submit *submit = request->state;
    struct request_buffer buffer;
    struct job *job = NULL;
    char location[64];
    if (request->result)
        return request_fail(request, &request->err);
    if (!submit->existing)
        workers_wake(request->server->workers);
    err_clear(&request->err);
    if (job_get(request->reader, submit->job.id, &job, &request->err))
        return request_fail(request, &request->err);
    if (!request_open(request, &buffer)) {
        if (job_write_json(buffer.out, job, request->reader, 1, &request->err))
            request_close_fail(request, &buffer, &request->err);
        else
            request_close_reply(request, &buffer, submit->existing ? 200 : 201, API_JSON);
    }
    snprintf(location, sizeof location, "/api/v1/jobs/%s", job->id);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    job_free(job);
    return REQUEST_DONE;
}

enum request_result api_job_create(struct request *request)
{
    struct submit *submit = calloc(1, sizeof *submit);
    if (!submit) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a job");
        return request_fail(request, &request->err);
    }
    request->state = submit;
    request->free_state = submit_free;
    submit->max_queue = request->server->settings.max_queue;
    hash_sha256(request->body, request->n_body, submit->body_sha256);
    if (submit_check(request, submit, &request->err))
        return request_fail(request, &request->err);
    return request_submit(request, submit_store, submit, submit_stored);
}
