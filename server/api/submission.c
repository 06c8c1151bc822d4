/* submission: see submission.h. */
#include "server/api/submission.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "config/record_grid.h"
#include "db/corpora.h"
#include "db/epochs.h"
#include "lab/text.h"
#include "server/api/init_from.h"
#include "server/api/job_changes.h"
#include "server/api/labels.h"
#include "server/datasets.h"
#include "server/job_text.h"
#include "server/queue/reading.h"
#include "server/queue/workers.h"

/* What to do about a text that is not here: the source that needs none, and the call that
 * uploads one. A known text has a file and a place to get it from. */
static int no_text(const struct request *request, const char *id, struct err *err)
{
    const struct text_known *known = text_known_find(id);
    return err_field(
        err, "/corpus/id",
        "there is no text \"%s\" on this server; \"" TEXT_SYNTHETIC
        "\" is built in; upload: curl -T %s -X POST '%.40s/api/v1/corpora?name=%s'%s%s",
        id, known ? known->file : "FILE", request_head(request, MHD_HTTP_HEADER_HOST),
        known ? known->name : "NAME", known ? " from " : "", known ? known->url : "");
}

/* Replace the name of the text in the spec by its sha256 and keep the name in `name`. A
 * name can be given to another text later; the stored spec must not change with it. */
static int resolve(const struct request *request, struct spec *spec, char *name, size_t n,
                   struct err *err)
{
    struct corpus corpus;
    struct err missing = ERR_INIT;
    snprintf(name, n, "%s", spec->corpus.id);
    if (strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0)
        return 0;
    if (corpus_get(request->reader, spec->corpus.id, &corpus, &missing)) {
        if (missing.code == ERR_NOT_FOUND)
            return no_text(request, spec->corpus.id, err);
        *err = missing;
        return -1;
    }
    snprintf(name, n, "%s", corpus.name);
    snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", corpus.sha256);
    return 0;
}

/* What the row holds of the spec and the request. */
static int fill(struct job *job, const struct request *request, const struct spec *spec,
                struct err *err)
{
    uuid_t uuid;
    uuid_generate(uuid);
    uuid_unparse_lower(uuid, job->id);
    job->state = JOB_QUEUED;
    job->priority = spec->resources.priority;
    job->attempt = 1;
    job->epoch = -1;
    job->epochs = spec->train.epochs;
    job->record_every = spec->train.record_every;
    job->max_attempts = spec->resources.max_attempts;
    job->name = strdup(spec->name);
    job->notes = strdup(spec->notes);
    job->tags = job_changes_tags(spec);
    job->user = strdup(request->user.name);
    job->device = strdup(spec->resources.device);
    job->precision = strdup(spec_precision_name(spec->train.precision));
    job->spec = spec_print(spec);
    job->corpus_sha256 = strdup(spec->corpus.id);
    if (!job->name || !job->notes || !job->tags || !job->user || !job->device || !job->precision ||
        !job->spec || !job->corpus_sha256)
        return err_set(err, ERR_NO_MEMORY, "no memory for a job");
    return 0;
}

int submission_blame(const struct err *why, struct err *err)
{
    if (!why->n_fields)
        *err = *why;
    for (int i = 0; i < why->n_fields; i++)
        err_field(err, why->fields[i].pointer, "%s", why->fields[i].detail);
    return -1;
}

/* What it holds of the text. A text that is still to be read leaves it open. */
static int fill_text(struct job *job, const struct request *request, const struct spec *spec,
                     const char *name, struct err *err)
{
    struct datasets *datasets = request->server->datasets;
    struct datasets_use text;
    struct err why = ERR_INIT;
    if (datasets_get(datasets, spec, &text, &why))
        return why.code == ERR_UNAVAILABLE ? job_text_leave_open(job, name, err)
                                           : submission_blame(&why, err);
    const int failed = job_text_fill(job, spec, name, &text, err);
    datasets_release(datasets, &text);
    return failed;
}

int submission_known(const struct request *request, const char *key, const char *body_sha256,
                     struct job **out, struct err *err)
{
    char id[DB_ID_MAX];
    const int known =
        key ? job_of_key(request->reader, request->user.name, key, body_sha256, id, err) : 0;
    if (known <= 0 || job_get(request->reader, id, out, err) == 0)
        return known;
    if (err->code != ERR_NOT_FOUND)
        return -1;
    err_clear(err); /* deleted since, so the key is free again */
    return 0;
}

int submission_seconds(const struct settings *settings, int64_t asked, const char *pointer,
                       int64_t *out, struct err *err)
{
    const int64_t most = settings->max_seconds;
    int64_t seconds = asked ? asked : settings->default_seconds;
    if (most && asked > most)
        return err_field(err, pointer, "%lld is above the %lld seconds that a job may have here",
                         (long long)asked, (long long)most);
    if (most && (!seconds || seconds > most))
        seconds = most;
    *out = seconds;
    return 0;
}

int submission_build(const struct request *request, struct spec *spec, struct job *job,
                     struct err *err)
{
    char name[SPEC_CORPUS_MAX + 1];
    const int too_long = submission_seconds(&request->server->settings, spec->resources.max_seconds,
                                            "/resources/max_seconds", &job->max_seconds, err);
    /* The checks go on after a failure, so that one answer names every bad field. Only
     * the checks that need the text stop where it is not resolved. */
    job->threads = (int)spec->resources.threads;
    const int unnamed = labels_clean(spec, err);
    const int elsewhere =
        workers_check_device(request->server->workers, spec->resources.device, err) |
        workers_check_threads(request->server->workers, spec->resources.threads, err);
    const int unresolved = resolve(request, spec, name, sizeof name, err);
    if (unresolved && err->code != ERR_INVALID)
        return -1;
    const int no_start = init_from_check(request->reader, spec, !unresolved, err);
    if (unresolved || (no_start && err->code != ERR_INVALID))
        return -1;
    const int failed = fill_text(job, request, spec, name, err) || unnamed || elsewhere ||
                       too_long || no_start || fill(job, request, spec, err);
    if (failed)
        submission_free(job);
    return failed ? -1 : 0;
}

int64_t submission_record_bytes(const struct job *job)
{
    const struct record_grid grid = {job->record_every, job->epochs};
    return job->unread ? -1
                       : record_grid_count(grid, job->epochs) *
                             epochs_row_bytes(job->n_groups, job->n_tokens);
}

void submission_wake(const struct request *request)
{
    workers_wake(request->server->workers);
    reading_wake(request->server->reading);
}

int submission_check_text(struct db_writer *writer, const struct job *job, struct err *err)
{
    struct err missing = ERR_INIT;
    if (strcmp(job->corpus_sha256, TEXT_SYNTHETIC) == 0 ||
        !corpus_check(writer, job->corpus_sha256, &missing))
        return 0;
    if (missing.code == ERR_NOT_FOUND)
        return err_field(err, "/corpus/id", "the text %s was just deleted", job->corpus_sha256);
    *err = missing;
    return -1;
}

void submission_free(struct job *job)
{
    char **texts[] = {&job->name,  &job->notes,     &job->tags,        &job->user,
                      &job->spec,  &job->precision, &job->facts,       &job->device,
                      &job->sweep, &job->setting,   &job->group_names, &job->corpus_sha256};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
}
