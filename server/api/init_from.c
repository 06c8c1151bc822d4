/* init_from: see init_from.h. must_agree lists the fields that determine the tensors of a
 * model or their meaning. Values are compared as JSON of the printed specs, so that
 * defaults are filled in on both sides. */
#include "server/api/init_from.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "db/jobs.h"

static const struct {
    const char *section, *field;
} must_agree[] = {
    {"corpus", "tokenizer"}, {"corpus", "vocabulary"}, {"model", "d_model"},
    {"model", "n_layers"},   {"model", "n_heads"},     {"model", "seq_len"},
    {"model", "activation"}, {"model", "head_bias"},   {"model", "head"},
    {"model", "cutoffs"},
};

static json_t *printed(const struct spec *spec)
{
    char *text = spec_print(spec);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return root;
}

static int check_value(const json_t *own, const json_t *other, const char *pointer, const char *id,
                       struct err *err)
{
    if (json_equal(own, other))
        return 0;
    char *x = json_dumps(own, JSON_ENCODE_ANY | JSON_COMPACT);
    char *y = json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT);
    int bad = x && y ? err_field(err, pointer,
                                 "%.60s is not the %.60s of job %s, from which it starts", x, y, id)
                     : err_set(err, ERR_NO_MEMORY, "no memory to compare two specs");
    free(x);
    free(y);
    return bad;
}

static int check_values(const struct spec *spec, const struct spec *source, struct err *err)
{
    json_t *own = printed(spec), *other = printed(source);
    int bad = own && other ? 0 : err_set(err, ERR_NO_MEMORY, "no memory to compare two specs");
    for (size_t i = 0; own && other && i < sizeof must_agree / sizeof *must_agree; i++) {
        char pointer[ERR_POINTER_MAX];
        const char *section = must_agree[i].section, *field = must_agree[i].field;
        snprintf(pointer, sizeof pointer, "/%s/%s", section, field);
        bad |= check_value(json_object_get(json_object_get(own, section), field),
                           json_object_get(json_object_get(other, section), field), pointer,
                           spec->init_from, err);
    }
    json_decref(own);
    json_decref(other);
    return bad;
}

/* Rules beyond equality of fields. Models agree if both are tied or both are not, whatever
 * the kind of untied start. The used types of two different texts are two vocabularies. */
static int check_meaning(const struct spec *spec, const struct spec *source, int has_address,
                         struct err *err)
{
    int bad = 0;
    if ((spec->model.tie == TIE_TIED) != (source->model.tie == TIE_TIED))
        bad = err_field(err, "/model/tie", "job %s, from which it starts, is %s", spec->init_from,
                        source->model.tie == TIE_TIED ? "tied" : "not tied");
    if (has_address && spec->corpus.vocabulary == VOCABULARY_USED &&
        source->corpus.vocabulary == VOCABULARY_USED &&
        (strcmp(spec->corpus.id, source->corpus.id) != 0 ||
         spec->corpus.variant != source->corpus.variant))
        bad =
            err_field(err, "/corpus/vocabulary",
                      "\"used\" is another vocabulary than that of the text of job %s, from which "
                      "it starts",
                      spec->init_from);
    return bad;
}

int init_from_check(struct db_reader *reader, const struct spec *spec, int has_address,
                    struct err *err)
{
    struct job *job = NULL;
    struct spec *source = NULL;
    struct err missing = ERR_INIT;
    if (!spec->init_from[0])
        return 0;
    if (job_get(reader, spec->init_from, &job, &missing)) {
        if (missing.code == ERR_NOT_FOUND)
            return err_field(err, "/init_from", "there is no job %s", spec->init_from);
        *err = missing;
        return -1;
    }
    int bad = -1;
    if (job->state != JOB_SUCCEEDED)
        err_field(err, "/init_from", "job %s is %s: only one that has succeeded has a last model",
                  spec->init_from, job_state_name(job->state));
    else if (spec_parse(job->spec, strlen(job->spec), &source, &missing))
        *err = missing;
    else
        bad = check_values(spec, source, err) | check_meaning(spec, source, has_address, err);
    spec_free(source);
    job_free(job);
    return bad;
}
