/* show: see show.h. The database holds records, not counts: groups and frequencies of the
 * table are computed again from the spec and the stored text (dataset_open). */
#include "server/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/dataset.h"
#include "lab/sampler.h"
#include "lab/text.h"
#include "server/cli/run_table.h"
#include "server/data.h"
#include "server/queue/divergence.h"

struct show {
    struct job *job;
    struct spec *spec;
    struct bpe *bpe;
    struct dataset *dataset;
    double *first, *last;
    struct findings_run *findings;
};

static int show_copy(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    double *to = self;
    (void)epoch, (void)tokens, (void)n_tokens;
    memcpy(to, values, (size_t)n_values * sizeof *to);
    return 0;
}

static int show_take(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    (void)n_values, (void)tokens, (void)n_tokens;
    findings_take(self, epoch, values);
    return 0;
}

/* Feed all stored records to the findings, as `tokenfate run` does while it receives them. */
static int show_findings(struct db_reader *reader, struct show *show, struct err *err)
{
    struct sampler *sampler = NULL;
    const struct dataset *data = show->dataset;
    const struct sampler_text text = dataset_text(data, NULL);
    if (!(show->findings = calloc(1, sizeof *show->findings)))
        return err_set(err, ERR_NO_MEMORY, "no memory for findings");
    if (sampler_open(show->spec, &text, &sampler, err))
        return -1;
    findings_open(show->findings, show->spec, &data->frequency, &data->groups, show->job->epoch,
                  sampler_steps_per_epoch(sampler));
    sampler_close(sampler);
    return epochs_read(reader, show->job->id, 0, show->job->epoch, show_take, show->findings, err);
}

static int show_text(const struct settings *settings, struct show *show, struct err *err)
{
    char path[DATA_PATH_MAX] = "";
    if (spec_parse(show->job->spec, strlen(show->job->spec), &show->spec, err) ||
        bpe_open(settings->share, show->spec->corpus.tokenizer, &show->bpe, err))
        return -1;
    if (strcmp(show->spec->corpus.id, TEXT_SYNTHETIC) != 0 &&
        data_path(settings, path, sizeof path, err, "corpora/%s", show->spec->corpus.id))
        return -1;
    return dataset_open(show->spec, path, show->bpe, &show->dataset, err);
}

static int show_read(const struct settings *settings, const char *id, struct db_reader *reader,
                     struct show *show, struct err *err)
{
    if (job_get(reader, id, &show->job, err))
        return -1;
    struct job *job = show->job;
    if (job->epoch < 0)
        return err_set(err, ERR_CONFLICT, "job %s is %s and has no records yet", id,
                       job_state_name(job->state));
    size_t n = (size_t)record_size(job->n_groups);
    show->first = calloc(n, sizeof *show->first);
    show->last = calloc(n, sizeof *show->last);
    if (!show->first || !show->last)
        return err_set(err, ERR_NO_MEMORY, "no memory for two records");
    if (epochs_read(reader, id, 0, 0, show_copy, show->first, err) ||
        epochs_read(reader, id, job->epoch, job->epoch, show_copy, show->last, err))
        return -1;
    return show_text(settings, show, err) ? -1 : show_findings(reader, show, err);
}

int show_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct show show = {0};
    struct db_reader *reader = NULL;
    char path[DATA_PATH_MAX], diverged[FINDINGS_TEXT];
    if (argc != 1) {
        fprintf(stderr, "usage: tokenfate show JOB_ID\n");
        return 2;
    }
    int failed = data_path(settings, path, sizeof path, &err, "tokenfate.db") ||
                 db_reader_open_path(path, &reader, &err) ||
                 show_read(settings, argv[0], reader, &show, &err);
    if (failed) {
        fprintf(stderr, "tokenfate: %s\n", err.message);
    } else {
        struct run_table table = {.spec = show.spec,
                                  .dataset = show.dataset,
                                  .epoch = show.job->epoch,
                                  .first = show.first,
                                  .last = show.last};
        run_print_table(stdout, &table);
        run_print_findings(stdout, show.findings,
                           divergence_of(show.job, diverged, sizeof diverged) ? diverged : NULL);
    }
    free(show.first), free(show.last), free(show.findings);
    dataset_close(show.dataset);
    bpe_close(show.bpe);
    spec_free(show.spec);
    job_free(show.job);
    db_reader_close(reader);
    return failed ? 1 : 0;
}
