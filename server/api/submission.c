/* submission: see submission.h. */
#include "server/api/submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "db/corpora.h"
#include "lab/memory.h"
#include "lab/text.h"
#include "server/api/init_from.h"
#include "server/api/job_changes.h"
#include "server/api/job_json.h"
#include "server/datasets.h"
#include "server/queue/workers.h"

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
            return err_field(err, "/corpus/id", "there is no text \"%s\" on this server",
                             spec->corpus.id);
        *err = missing;
        return -1;
    }
    snprintf(name, n, "%s", corpus.name);
    snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", corpus.sha256);
    return 0;
}

/* Names of the groups, separated by newlines (malloc), as group_names_split reads them. */
static char *join_names(const struct groups *groups)
{
    char *text = calloc((size_t)groups->n + 1, RECORD_NAME_MAX + 1);
    for (int g = 0; text && g < groups->n; g++) {
        strcat(text, g ? "\n" : "");
        strcat(text, groups->group[g].name);
    }
    return text;
}

static int fill(struct job *job, const struct request *request, const struct spec *spec,
                const struct datasets_use *text, const char *corpus_name, struct err *err)
{
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
    job->memory_bytes =
        memory_bytes(spec, spec->train.precision, text->text->vocab, &text->groups, err);
    if (job->memory_bytes < 0)
        return -1;
    if (!(job->facts = job_json_facts(spec, corpus_name, text, err)))
        return -1;
    job->name = strdup(spec->name);
    job->notes = strdup(spec->notes);
    job->tags = job_changes_tags(spec);
    job->user = strdup(request->user.name);
    job->device = strdup(spec->resources.device);
    job->precision = strdup(spec_precision_name(spec->train.precision));
    job->spec = spec_print(spec);
    job->group_names = join_names(&text->groups);
    job->corpus_sha256 = strdup(spec->corpus.id);
    if (!job->name || !job->notes || !job->tags || !job->user || !job->device || !job->precision ||
        !job->spec || !job->group_names || !job->corpus_sha256)
        return err_set(err, ERR_NO_MEMORY, "no memory for a job");
    return 0;
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

int submission_build(const struct request *request, struct spec *spec, struct job *job,
                     struct err *err)
{
    struct datasets_use text;
    char name[SPEC_CORPUS_MAX + 1];
    /* The checks go on after a failure, so that one answer names every bad field. Only
     * the checks that need the text stop where it is not resolved. */
    const int elsewhere =
        workers_check_device(request->server->workers, spec->resources.device, err);
    const int unresolved = resolve(request, spec, name, sizeof name, err);
    if (unresolved && err->code != ERR_INVALID)
        return -1;
    const int no_start = init_from_check(request->reader, spec, !unresolved, err);
    if (unresolved || (no_start && err->code != ERR_INVALID) ||
        datasets_get(request->server->datasets, spec, &text, err))
        return -1;
    const int failed = elsewhere || no_start || fill(job, request, spec, &text, name, err) ? -1 : 0;
    datasets_release(request->server->datasets, &text);
    if (failed)
        submission_free(job);
    return failed;
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
