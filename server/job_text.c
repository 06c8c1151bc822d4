/* job_text: see job_text.h. */
#include "server/job_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "config/spec_kind.h"
#include "lab/cost.h"
#include "lab/memory.h"
#include "lab/shapes.h"
#include "lab/theory.h"

/* "ids" are the tokenizer's ids: the model's ids differ if it has a vocabulary of its own. */
static void write_facts_group(struct emit *json, const struct group *group,
                              const struct dataset *text)
{
    const struct frequency *frequency = &text->frequency;
    emit_object(json, NULL);
    emit_text(json, "name", group->name);
    emit_number(json, "context_free", theory_context_free(group, frequency));
    emit_array(json, "ids");
    for (int i = 0; i < group->n; i++)
        emit_integer(json, NULL, dataset_original(text, group->ids[i]));
    emit_end(json);
    emit_array(json, "counts");
    for (int i = 0; i < group->n; i++)
        emit_integer(json, NULL, frequency->counts[group->ids[i]]);
    emit_end(json);
    emit_end(json);
}

static void write_facts(struct emit *json, const struct spec *spec, const char *corpus_name,
                        const struct datasets_use *text)
{
    const struct frequency *frequency = &text->text->frequency;
    /* A model that starts from another one is not untrained. With an adaptive head the
     * untrained level differs between clusters. */
    const int has_level = !spec->init_from[0] && spec->model.head == HEAD_FULL;
    emit_object(json, NULL);
    emit_text(json, "corpus_name", corpus_name);
    emit_integer(json, "tokens", frequency->total);
    emit_integer(json, "held_out", (int64_t)text->text->n_held_out);
    emit_integer(json, "types", frequency->types);
    emit_integer(json, "once", frequency->once);
    emit_integer(json, "vocabulary", frequency->vocab);
    emit_text(json, "mask", spec_mask_name(spec->groups.mask));
    emit_integer(json, "tokens_per_epoch",
                 text->steps_per_epoch * spec->train.batch_size * spec->model.seq_len);
    emit_number(json, "untrained", has_level ? theory_untrained(spec, frequency->vocab) : NAN);
    emit_array(json, "groups");
    for (int g = 0; g < text->groups.n; g++)
        write_facts_group(json, &text->groups.group[g], text->text);
    emit_end(json);
    emit_end(json);
}

static char *print_facts(const struct spec *spec, const char *corpus_name,
                         const struct datasets_use *text, struct err *err)
{
    struct emit json;
    char *facts = NULL;
    if (emit_open_text(&json) == 0) {
        write_facts(&json, spec, corpus_name, text);
        facts = emit_close_text(&json);
    }
    if (!facts)
        err_set(err, ERR_NO_MEMORY, "no memory for the facts of a job");
    return facts;
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

static void replace(char **place, char *text)
{
    free(*place);
    *place = text;
}

/* Bytes of the models that the job leaves, with their spectra: the snapshots, and the last one. */
static int64_t model_bytes(const struct spec *spec, int vocab, struct err *err)
{
    struct shapes shapes;
    const int n = spec->train.n_snapshots;
    const int has_last = n && spec->train.snapshots[n - 1] == spec->train.epochs;
    if (shapes_build(spec, vocab, &shapes, err))
        return -1;
    const int64_t bytes = (shapes.n_parameters + vocab) * (int64_t)sizeof(float);
    shapes_free(&shapes);
    return (n + !has_last) * bytes;
}

int job_text_work(const struct spec *spec, int vocab, int64_t steps_per_epoch, int n_tokens,
                  struct job_work *out, struct err *err)
{
    out->cost = cost_epoch(spec, vocab, steps_per_epoch, n_tokens, err);
    return out->cost < 0 ? -1 : cost_shape(spec, out->shape, err);
}

int job_text_fill(struct job *job, const struct spec *spec, const char *corpus_name,
                  const struct datasets_use *text, struct err *err)
{
    const int64_t memory =
        memory_bytes(spec, spec->train.precision, text->text->vocab, &text->groups, err);
    const int64_t models = memory < 0 ? -1 : model_bytes(spec, text->text->vocab, err);
    struct job_work work;
    if (models < 0 || job_text_work(spec, text->text->vocab, text->steps_per_epoch,
                                    text->groups.n_tokens, &work, err) < 0)
        return -1;
    char *facts = print_facts(spec, corpus_name, text, err);
    char *names = facts ? join_names(&text->groups) : NULL;
    if (!names) {
        free(facts);
        return err_set(err, ERR_NO_MEMORY, "no memory for the facts of a job");
    }
    job->unread = 0;
    job->n_groups = text->groups.n;
    job->n_tokens = text->groups.n_tokens;
    job->memory_bytes = memory;
    job->model_bytes = models;
    job->work = work;
    replace(&job->facts, facts);
    replace(&job->group_names, names);
    return 0;
}

int job_text_leave_open(struct job *job, const char *corpus_name, struct err *err)
{
    struct emit json;
    char *facts = NULL, *names = strdup("");
    if (emit_open_text(&json) == 0) {
        emit_object(&json, NULL);
        emit_text(&json, "corpus_name", corpus_name);
        emit_end(&json);
        facts = emit_close_text(&json);
    }
    if (!facts || !names) {
        free(facts);
        free(names);
        return err_set(err, ERR_NO_MEMORY, "no memory for the facts of a job");
    }
    job->unread = 1;
    job->n_groups = job->n_tokens = 0;
    job->memory_bytes = job->model_bytes = 0;
    replace(&job->facts, facts);
    replace(&job->group_names, names);
    return 0;
}
