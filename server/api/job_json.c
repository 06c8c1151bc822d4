/* job_json: see job_json.h. */
#include "server/api/job_json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "db/epochs.h"
#include "lab/theory.h"
#include "server/group_names.h"
#include "server/json.h"
#include "db/jobs.h"

/* ---- facts ---- */

/* Ids are the tokenizer's, whatever the model calls them. */
static void facts_group(FILE *out, const struct group *group, const struct dataset *text)
{
    const struct frequency *frequency = &text->frequency;
    fputs("{\"name\":", out);
    json_write_string(out, group->name);
    fputs(",\"context_free\":", out);
    record_print_number(out, theory_context_free(group, frequency));
    fputs(",\"ids\":[", out);
    for (int i = 0; i < group->n; i++)
        fprintf(out, "%s%d", i ? "," : "", dataset_original(text, group->ids[i]));
    fputs("],\"counts\":[", out);
    for (int i = 0; i < group->n; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)frequency->counts[group->ids[i]]);
    fputs("]}", out);
}

char *job_facts_print(const struct spec *spec, const char *corpus_name,
                      const struct datasets_use *text, struct err *err)
{
    char *facts = NULL;
    size_t n = 0;
    const struct frequency *frequency = &text->text->frequency;
    FILE *out = open_memstream(&facts, &n);
    if (out) {
        fputs("{\"corpus_name\":", out);
        json_write_string(out, corpus_name);
        fprintf(out, ",\"tokens\":%lld,\"held_out\":%zu,\"types\":%d,\"once\":%d,\"vocabulary\":%d",
                (long long)frequency->total, text->text->n_held_out, frequency->types,
                frequency->once, frequency->vocab);
        fprintf(out, ",\"mask\":\"%s\"", spec_mask_name(spec->groups.mask));
        fprintf(out, ",\"tokens_per_epoch\":%lld,\"untrained\":",
                (long long)(text->steps_per_epoch * spec->train.batch_size * spec->model.seq_len));
        /* A model that starts from another one is not untrained; the clusters of an
         * adaptive head have a level each. */
        const int has_level = !spec->init_from[0] && spec->model.head == HEAD_FULL;
        record_print_number(out, has_level ? theory_untrained(spec, frequency->vocab) : NAN);
        fputs(",\"groups\":[", out);
        for (int g = 0; g < text->groups.n; g++) {
            fputs(g ? "," : "", out);
            facts_group(out, &text->groups.group[g], text->text);
        }
        fputs("]}", out);
    }
    if (!out || fclose(out) != 0) {
        free(facts);
        err_set(err, ERR_NO_MEMORY, "no memory for the facts of a job");
        return NULL;
    }
    return facts;
}

/* ---- the last record ---- */

struct job_last {
    int n_groups, found;
    double loss, log_z, rate;
    double mean[SPEC_GROUPS_MAX][MASKS], ln_mean_p[SPEC_GROUPS_MAX];
};

static int job_last_row(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    struct job_last *last = self;
    (void)epoch, (void)n_values, (void)tokens, (void)n_tokens;
    last->found = 1;
    last->loss = values[RECORD_LOSS];
    last->log_z = values[RECORD_LOG_Z];
    last->rate = values[RECORD_TOKENS_PER_SECOND];
    for (int g = 0; g < last->n_groups; g++) {
        for (int mask = 0; mask < MASKS; mask++)
            last->mean[g][mask] =
                values[record_at(g, (enum record_field)(RECORD_MEAN_LOGP_NONE + mask))];
        last->ln_mean_p[g] = values[record_at(g, RECORD_LN_MEAN_P)];
    }
    return 0;
}

static int job_mask(const json_t *facts)
{
    const char *name = json_string_value(json_object_get(facts, "mask"));
    for (int mask = 0; name && mask < MASKS; mask++)
        if (strcmp(spec_mask_name((enum spec_mask)mask), name) == 0)
            return mask;
    return MASK_COLUMNS;
}

static void job_write_summary(FILE *out, const struct job *job, const json_t *facts,
                              const struct job_last *last, const struct group_names *names)
{
    int mask = job_mask(facts);
    fprintf(out, "{\"epoch\":%lld,\"loss\":", (long long)job->epoch);
    record_print_number(out, last->loss);
    fputs(",\"log_z\":", out);
    record_print_number(out, last->log_z);
    fputs(",\"tokens_per_second\":", out);
    record_print_number(out, last->rate);
    fprintf(out, ",\"mask\":\"%s\",\"groups\":{", spec_mask_name((enum spec_mask)mask));
    for (int g = 0; g < names->n; g++) {
        fputs(g ? "," : "", out);
        json_write_string(out, names->name[g]);
        fputs(":{\"mean_logp\":", out);
        record_print_number(out, last->mean[g][mask]);
        fputs(",\"ln_mean_p\":", out);
        record_print_number(out, last->ln_mean_p[g]);
        putc('}', out);
    }
    fputs("}}", out);
}

/* ---- the job ---- */

static void job_write_eta(FILE *out, const struct job *job, const json_t *facts,
                          const struct job_last *last)
{
    double tokens = (double)json_integer_value(json_object_get(facts, "tokens_per_epoch"));
    fputs(",\"eta_seconds\":", out);
    if (job->state == JOB_RUNNING && last->found && last->rate > 0)
        record_print_number(
            out, round((double)(job->epochs - job->epoch) * tokens / last->rate * 10) / 10);
    else
        fputs("null", out);
}

static void job_write_theory(FILE *out, const json_t *facts)
{
    size_t i;
    json_t *group;
    fputs(",\"groups\":[", out);
    json_array_foreach(json_object_get(facts, "groups"), i, group)
    {
        fputs(i ? ",{\"name\":" : "{\"name\":", out);
        json_write_string(out, json_string_value(json_object_get(group, "name")));
        fprintf(out, ",\"size\":%zu}", json_array_size(json_object_get(group, "ids")));
    }
    fputs("],\"theory\":{\"untrained\":", out);
    json_t *untrained = json_object_get(facts, "untrained");
    record_print_number(out, json_is_number(untrained) ? json_number_value(untrained) : NAN);
    fputs(",\"groups\":{", out);
    json_array_foreach(json_object_get(facts, "groups"), i, group)
    {
        json_t *value = json_object_get(group, "context_free");
        fputs(i ? "," : "", out);
        json_write_string(out, json_string_value(json_object_get(group, "name")));
        fputs(":{\"context_free\":", out);
        record_print_number(out, json_is_number(value) ? json_number_value(value) : NAN);
        putc('}', out);
    }
    fputs("}}", out);
}

static void job_write_corpus(FILE *out, const struct job *job, const json_t *facts)
{
    fputs(",\"corpus\":{\"name\":", out);
    json_write_string(out, json_string_value(json_object_get(facts, "corpus_name")));
    fputs(",\"sha256\":", out);
    json_write_string(out, job->corpus_sha256);
    for (const char *const *key =
             (const char *const[]){"tokens", "held_out", "types", "once", "vocabulary", NULL};
         *key; key++)
        fprintf(out, ",\"%s\":%lld", *key,
                (long long)json_integer_value(json_object_get(facts, *key)));
    putc('}', out);
}

static void job_write_state(FILE *out, const struct job *job)
{
    fprintf(out, "{\"id\":\"%s\",\"name\":", job->id);
    json_write_string(out, job->name);
    fputs(",\"notes\":", out);
    json_write_string(out, job->notes);
    fputs(",\"tags\":", out);
    json_write_raw(out, job->tags);
    fputs(",\"user\":", out);
    json_write_string(out, job->user);
    fprintf(out, ",\"state\":\"%s\",\"priority\":%d,\"attempt\":%d,\"cancel_requested\":%s",
            job_state_name(job->state), job->priority, job->attempt,
            job->cancel_requested ? "true" : "false");
    fputs(",\"submitted_at\":", out);
    json_write_time(out, job->submitted_at);
    fputs(",\"started_at\":", out);
    json_write_time(out, job->started_at);
    fputs(",\"finished_at\":", out);
    json_write_time(out, job->finished_at);
    fputs(",\"epoch\":", out);
    if (job->epoch >= 0)
        fprintf(out, "%lld", (long long)job->epoch);
    else
        fputs("null", out);
    fprintf(out, ",\"epochs\":%lld,\"device\":", (long long)job->epochs);
    json_write_string(out, job->device);
    fprintf(out, ",\"memory_bytes\":%lld,\"error\":", (long long)job->memory_bytes);
    json_write_raw(out, job->error);
    fputs(",\"waits\":", out);
    json_write_string(out, job->waits);
    fputs(",\"provenance\":", out);
    json_write_raw(out, job->provenance);
    fputs(",\"sweep\":", out);
    json_write_string(out, job->sweep);
    fputs(",\"setting\":", out);
    json_write_raw(out, job->setting);
}

static void job_write_links(FILE *out, const struct job *job)
{
    static const char *const below[] = {"epochs",   "tokens",     "spectrum",   "theory",
                                        "findings", "indicators", "checkpoint", "batch",
                                        "probe",    "log"};
    fprintf(out, ",\"links\":{\"self\":\"/api/v1/jobs/%s\"", job->id);
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++)
        fprintf(out, ",\"%s\":\"/api/v1/jobs/%s/%s\"", below[i], job->id, below[i]);
    fprintf(out, ",\"events\":\"/api/v1/events?jobs=%s\"}", job->id);
}

int job_write_json(FILE *out, const struct job *job, struct db_reader *reader, int with_spec,
                   struct err *err)
{
    struct job_last last = {.n_groups = job->n_groups};
    struct group_names names;
    if (job->epoch >= 0 &&
        epochs_read(reader, job->id, job->epoch, job->epoch, job_last_row, &last, err))
        return -1;
    if (group_names_split(job->group_names, &names, err))
        return -1;
    json_t *facts = json_loads(job->facts ? job->facts : "{}", 0, NULL);
    job_write_state(out, job);
    job_write_eta(out, job, facts, &last);
    job_write_corpus(out, job, facts);
    job_write_theory(out, facts);
    fputs(",\"summary\":", out);
    if (last.found)
        job_write_summary(out, job, facts, &last, &names);
    else
        fputs("null", out);
    if (with_spec) {
        fputs(",\"spec\":", out);
        json_write_raw(out, job->spec);
    }
    job_write_links(out, job);
    putc('}', out);
    json_decref(facts);
    group_names_free(&names);
    return 0;
}
