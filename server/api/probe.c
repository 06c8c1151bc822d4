/* probe: POST /jobs/{id}/probe. The prediction of a job's model after a text: the most
 * probable next tokens, and log p and rank of named tokens. The text is tokenised here;
 * the model runs in a process of its own (probe_process).
 *
 * The route table calls api_probe on a pool thread with that thread's database reader,
 * and blocks it until the process has answered. The request owns its struct probing.
 * Invariant: tokens have two numberings, that of the tokenizer and that of the model,
 * which differ if the vocabulary holds the used types only. Requests and answers use
 * tokenizer numbering, the trainer uses model numbering. */
#include "server/api/probe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/input.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "lab/bpe.h"
#include "lab/groups.h"
#include "server/api/model_file.h"
#include "server/api/probe_process.h"
#include "server/data.h"
#include "server/datasets.h"

enum {
    PROBE_TOP_DEFAULT = 10,
    PROBE_TOP_MAX = 1000,
    PROBE_TOKENS_MAX = 100,   /* named tokens */
    PROBE_TEXT_MAX = 64 << 10 /* bytes; a window of 1,024 tokens has some 5,000 */
};

struct probing {
    json_t *body;
    struct job *job;
    struct spec *spec;
    const struct bpe *bpe;
    struct datasets_use text; /* held if text.entry is set */
    int64_t epoch, top;
    int32_t *ids;   /* [n_ids] of the prompt, tokenizer numbering */
    int32_t *model; /* [n_ids] the same in model numbering */
    int n_ids;
    int vocab;
    float *logp;                     /* [vocab] */
    int32_t *rank;                   /* [vocab] model numbering, highest log p first */
    int32_t named[PROBE_TOKENS_MAX]; /* model numbering, as in "tokens" */
    int n_named;
    char file[DATA_PATH_MAX];
};

static void probing_free(struct request *request, struct probing *probing)
{
    if (probing->text.entry)
        datasets_release(request->server->datasets, &probing->text);
    json_decref(probing->body);
    job_free(probing->job);
    spec_free(probing->spec);
    free(probing->ids), free(probing->model), free(probing->logp), free(probing->rank);
}

/* ---- the question ---- */

static int read_integer(const json_t *body, const char *name, int64_t low, int64_t high,
                        int64_t fallback, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(body, name);
    char pointer[32];
    *out = fallback;
    if (!value || (input_integer(value, out) && *out >= low && *out <= high))
        return 0;
    snprintf(pointer, sizeof pointer, "/%s", name);
    return err_field(err, pointer, "must be an integer from %lld to %lld", (long long)low,
                     (long long)high);
}

static void check_fields(json_t *body, struct err *err)
{
    static const char *const known[] = {"text", "ids", "tokens", "top", "epoch"};
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0)
            i++;
        if (i < sizeof known / sizeof *known)
            continue;
        char pointer[ERR_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/%.80s", key);
        err_field(err, pointer, "is not a field of a probe: text, ids, tokens, top, epoch");
    }
}

/* A tokenizer's id in model numbering; -1: not in the model's vocabulary. */
static int32_t number_of(const struct probing *probing, int64_t id)
{
    return id < 0 || id > INT32_MAX
               ? -1
               : groups_counted_id((int32_t)id, probing->text.text->original, probing->vocab);
}

/* The id of a text that is exactly one token. */
static int read_token_text(const struct probing *probing, const json_t *text, const char *pointer,
                           int64_t *id, struct err *err)
{
    struct err bad = ERR_INIT;
    int32_t *ids = NULL;
    size_t n = 0;
    if (bpe_encode(probing->bpe, json_string_value(text), json_string_length(text), &ids, &n, &bad))
        return err_field(err, pointer, "%s", bad.message);
    *id = n == 1 ? ids[0] : -1;
    free(ids);
    return n == 1 ? 0
                  : err_field(err, pointer, "\"%.60s\" is %zu tokens, not one",
                              json_string_value(text), n);
}

/* One entry of "tokens": an id, or a text. */
static int read_token(struct probing *probing, const json_t *entry, size_t i, struct err *err)
{
    char pointer[32];
    int64_t id;
    snprintf(pointer, sizeof pointer, "/tokens/%zu", i);
    if (json_is_string(entry)) {
        if (read_token_text(probing, entry, pointer, &id, err))
            return -1;
    } else if (!input_integer(entry, &id)) {
        return err_field(err, pointer, "must be a text or an id");
    }
    const int32_t number = number_of(probing, id);
    if (number < 0)
        return err_field(err, pointer, "id %lld is not in the model's vocabulary of %d",
                         (long long)id, probing->vocab);
    probing->named[probing->n_named++] = number;
    return 0;
}

static void read_tokens(struct probing *probing, struct err *err)
{
    const json_t *list = json_object_get(probing->body, "tokens"), *entry;
    size_t i;
    if (list && (!json_is_array(list) || json_array_size(list) > PROBE_TOKENS_MAX)) {
        err_field(err, "/tokens", "must be a list of at most %d texts or ids", PROBE_TOKENS_MAX);
        return;
    }
    json_array_foreach(list, i, entry) read_token(probing, entry, i, err);
}

static void read_text(struct probing *probing, const json_t *text, struct err *err)
{
    struct err bad = ERR_INIT;
    size_t n = 0;
    if (!json_is_string(text) || json_string_length(text) > PROBE_TEXT_MAX)
        err_field(err, "/text", "must be a text of at most %d bytes", PROBE_TEXT_MAX);
    else if (bpe_encode(probing->bpe, json_string_value(text), json_string_length(text),
                        &probing->ids, &n, &bad))
        err_field(err, "/text", "%s", bad.message);
    else if (n < 1 || n > (size_t)probing->spec->model.seq_len)
        err_field(err, "/text", "is %zu tokens; the model reads 1 to %d", n,
                  probing->spec->model.seq_len);
    probing->n_ids = (int)n;
}

static void read_ids(struct probing *probing, const json_t *list, struct err *err)
{
    const size_t n = json_array_size(list);
    if (n < 1 || n > (size_t)probing->spec->model.seq_len) {
        err_field(err, "/ids", "must be a list of 1 to %d ids", probing->spec->model.seq_len);
        return;
    }
    if (!(probing->ids = calloc(n, sizeof *probing->ids))) {
        err_set(err, ERR_NO_MEMORY, "no memory for %zu ids", n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/ids/%zu", i);
        if (!input_integer(json_array_get(list, i), &id) || number_of(probing, id) < 0)
            err_field(err, pointer, "must be an id of the model's vocabulary of %d",
                      probing->vocab);
        else
            probing->ids[i] = (int32_t)id;
    }
    probing->n_ids = (int)n;
}

/* Translate the prompt to model numbering. */
static int number_ids(struct probing *probing, struct err *err)
{
    probing->model = calloc((size_t)probing->n_ids + 1, sizeof *probing->model);
    if (!probing->model)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d ids", probing->n_ids);
    for (int i = 0; i < probing->n_ids; i++)
        if ((probing->model[i] = number_of(probing, probing->ids[i])) < 0)
            return err_field(err, "/text",
                             "token %d of it (id %d) is not in the model's vocabulary of %d", i,
                             probing->ids[i], probing->vocab);
    return 0;
}

/* The prompt: a text, or ids; not both. */
static void read_prompt(struct probing *probing, struct err *err)
{
    const json_t *ids = json_object_get(probing->body, "ids");
    const json_t *text = json_object_get(probing->body, "text");
    if (ids && text)
        err_field(err, "/ids", "stands beside a text: one of them");
    else if (ids)
        read_ids(probing, ids, err);
    else
        read_text(probing, text, err);
}

static int read_vocabulary(struct request *request, struct probing *probing, struct err *err)
{
    if (datasets_get(request->server->datasets, probing->spec, &probing->text, err))
        return -1;
    probing->vocab = probing->text.text->vocab;
    probing->logp = malloc((size_t)probing->vocab * sizeof *probing->logp);
    probing->rank = malloc((size_t)probing->vocab * sizeof *probing->rank);
    return probing->logp && probing->rank ? 0
                                          : err_set(err, ERR_NO_MEMORY, "no memory for a probe");
}

static int read_question(struct request *request, struct probing *probing, struct err *err)
{
    if (job_get(request->reader, request->params[0], &probing->job, err))
        return -1;
    if (!(probing->body = input_json(request->body, request->n_body, 0, err)))
        return -1;
    if (!json_is_object(probing->body))
        return err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    if (spec_parse(probing->job->spec, strlen(probing->job->spec), &probing->spec, err) ||
        datasets_tokenizer(request->server->datasets, probing->spec->corpus.tokenizer,
                           &probing->bpe, err) ||
        read_vocabulary(request, probing, err))
        return -1;
    check_fields(probing->body, err);
    read_prompt(probing, err);
    read_tokens(probing, err);
    read_integer(probing->body, "top", 0, PROBE_TOP_MAX, PROBE_TOP_DEFAULT, &probing->top, err);
    read_integer(probing->body, "epoch", 0, probing->job->epochs, probing->job->epochs,
                 &probing->epoch, err);
    if (err->code != ERR_NONE || number_ids(probing, err))
        return -1;
    return model_file_find(&request->server->settings, probing->job, MODEL_FILE_WEIGHTS,
                           probing->epoch, probing->file, err);
}

/* ---- the answer ---- */

/* Descending log p; of equal values the lower number first. */
static int by_logp(const void *a, const void *b, void *logp)
{
    const float *values = logp;
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return values[x] != values[y] ? (values[x] < values[y] ? 1 : -1) : x - y;
}

static void sort_vocabulary(struct probing *probing)
{
    for (int v = 0; v < probing->vocab; v++)
        probing->rank[v] = v;
    qsort_r(probing->rank, (size_t)probing->vocab, sizeof *probing->rank, by_logp, probing->logp);
}

static void write_token(struct emit *json, const struct probing *probing, int rank)
{
    const int32_t number = probing->rank[rank];
    const int32_t id = dataset_original(probing->text.text, number);
    size_t n = 0;
    const char *bytes = bpe_token(probing->bpe, id, &n);
    emit_object(json, NULL);
    emit_integer(json, "id", id);
    emit_bytes(json, "text", bytes ? bytes : "", n);
    emit_integer(json, "rank", rank + 1);
    emit_float(json, "logp", probing->logp[number]);
    emit_end(json);
}

static void write_named(struct emit *json, const struct probing *probing)
{
    for (int i = 0; i < probing->n_named; i++)
        for (int rank = 0; rank < probing->vocab; rank++)
            if (probing->rank[rank] == probing->named[i]) {
                write_token(json, probing, rank);
                break;
            }
}

static void write_answer(struct emit *json, const struct probing *probing)
{
    emit_object(json, NULL);
    emit_text(json, "job", probing->job->id);
    emit_integer(json, "epoch", probing->epoch);
    emit_array(json, "ids");
    for (int i = 0; i < probing->n_ids; i++)
        emit_integer(json, NULL, probing->ids[i]);
    emit_end(json);
    emit_array(json, "top");
    for (int rank = 0; rank < probing->top && rank < probing->vocab; rank++)
        write_token(json, probing, rank);
    emit_end(json);
    emit_array(json, "tokens");
    write_named(json, probing);
    emit_end(json);
    emit_end(json);
}

enum request_result api_probe(struct request *request)
{
    struct probing probing = {0};
    struct request_buffer buffer;
    struct err *err = &request->err;
    int failed = read_question(request, &probing, err);
    if (!failed) {
        const struct probe_process_question question = {.job = probing.job->id,
                                                        .spec = probing.job->spec,
                                                        .file = probing.file,
                                                        .vocab = probing.vocab,
                                                        .ids = probing.model,
                                                        .n = probing.n_ids};
        failed = probe_process_ask(&request->server->settings, &question, probing.logp, err);
    }
    if (failed && err->code == ERR_TOO_MANY) {
        request_fail_later(request, err, PROBE_PROCESS_RETRY_SECONDS);
    } else if (failed) {
        request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        sort_vocabulary(&probing);
        write_answer(&buffer.json, &probing);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    probing_free(request, &probing);
    return REQUEST_DONE;
}
