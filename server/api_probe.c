/* api_probe: POST /jobs/{id}/probe. What a job's model says after a text: the
 * likeliest next tokens, and log p and rank of named ones. The text becomes ids
 * here, the model answers in a process of its own (probe.c). On a pool thread. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/record.h"
#include "config/spec.h"
#include "server/api.h"
#include "server/datasets.h"
#include "server/json.h"
#include "server/probe.h"

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
    int64_t epoch, top;
    int32_t *ids; /* of the text */
    int n_ids;
    int vocab;
    float *logp;   /* [vocab] */
    int32_t *rank; /* [vocab] ids, likeliest first */
    int32_t named[PROBE_TOKENS_MAX];
    int n_named;
    char file[SERVER_PATH_MAX];
};

static void probing_free(struct probing *probing)
{
    json_decref(probing->body);
    job_free(probing->job);
    spec_free(probing->spec);
    free(probing->ids), free(probing->logp), free(probing->rank);
}

/* ---- the question ---- */

static int read_integer(const json_t *body, const char *name, int64_t low, int64_t high,
                        int64_t fallback, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(body, name);
    char pointer[32];
    *out = value ? json_integer_value(value) : fallback;
    if (!value || (json_is_integer(value) && *out >= low && *out <= high))
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

/* One entry of "tokens": an id, or a text that is one token. */
static int read_token(struct probing *probing, const json_t *entry, size_t i, struct err *err)
{
    char pointer[32];
    int32_t *ids = NULL, id = -1;
    size_t n = 0;
    struct err bad;
    err_clear(&bad);
    snprintf(pointer, sizeof pointer, "/tokens/%zu", i);
    if (json_is_integer(entry)) {
        const int64_t value = json_integer_value(entry);
        if (value < 0 || value >= probing->vocab)
            return err_field(err, pointer, "%lld is not an id below %d", (long long)value,
                             probing->vocab);
        id = (int32_t)value;
    } else if (!json_is_string(entry)) {
        return err_field(err, pointer, "must be a text or an id");
    } else if (bpe_encode(probing->bpe, json_string_value(entry), json_string_length(entry), &ids,
                          &n, &bad)) {
        return err_field(err, pointer, "%s", bad.message);
    } else if (n != 1) {
        free(ids);
        return err_field(err, pointer, "\"%.60s\" is %zu tokens, not one", json_string_value(entry),
                         n);
    } else {
        id = ids[0];
        free(ids);
    }
    probing->named[probing->n_named++] = id;
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
    struct err bad;
    size_t n = 0;
    err_clear(&bad);
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
        const json_t *id = json_array_get(list, i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/ids/%zu", i);
        if (value < 0 || value >= probing->vocab)
            err_field(err, pointer, "must be an id below %d", probing->vocab);
        else
            probing->ids[i] = (int32_t)value;
    }
    probing->n_ids = (int)n;
}

/* What the model reads: a text, or its ids. */
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

static int find_model(struct request *request, struct probing *probing, struct err *err)
{
    if (server_data_path(&request->server->settings, probing->file, sizeof probing->file, err,
                         "jobs/%s/model/epoch-%07lld.safetensors", probing->job->id,
                         (long long)probing->epoch))
        return -1;
    if (access(probing->file, R_OK) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no model of epoch %lld: only of the epochs in train.snapshots and "
                       "of the last, once they were reached",
                       (long long)probing->epoch);
    return 0;
}

static int read_vocabulary(struct probing *probing, struct err *err)
{
    json_t *facts = json_loads(probing->job->facts, 0, NULL);
    probing->vocab = (int)json_integer_value(json_object_get(facts, "vocabulary"));
    json_decref(facts);
    probing->logp = malloc((size_t)probing->vocab * sizeof *probing->logp);
    probing->rank = malloc((size_t)probing->vocab * sizeof *probing->rank);
    return probing->logp && probing->rank ? 0
                                          : err_set(err, ERR_NO_MEMORY, "no memory for a probe");
}

static int read_question(struct request *request, struct probing *probing, struct err *err)
{
    json_error_t where;
    if (job_get(request->reader, request->params[0], &probing->job, err))
        return -1;
    probing->body = json_loadb(request->body, request->n_body, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(probing->body))
        return err_set(err, ERR_MALFORMED, "not a JSON object: %s (line %d, column %d)",
                       probing->body ? "another value" : where.text, where.line, where.column);
    if (spec_parse(probing->job->spec, strlen(probing->job->spec), &probing->spec, err) ||
        datasets_tokenizer(request->server->datasets, probing->spec->corpus.tokenizer,
                           &probing->bpe, err) ||
        read_vocabulary(probing, err))
        return -1;
    check_fields(probing->body, err);
    read_prompt(probing, err);
    read_tokens(probing, err);
    read_integer(probing->body, "top", 0, PROBE_TOP_MAX, PROBE_TOP_DEFAULT, &probing->top, err);
    read_integer(probing->body, "epoch", 0, probing->job->epochs, probing->job->epochs,
                 &probing->epoch, err);
    return err->code != ERR_NONE ? -1 : find_model(request, probing, err);
}

/* ---- the answer ---- */

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

static void write_token(FILE *out, const struct probing *probing, int rank)
{
    const int32_t id = probing->rank[rank];
    size_t n = 0;
    const char *bytes = bpe_token(probing->bpe, id, &n);
    fprintf(out, "{\"id\":%d,\"text\":", id);
    json_write_bytes(out, bytes ? bytes : "", n);
    fprintf(out, ",\"rank\":%d,\"logp\":", rank + 1);
    record_print_number(out, (double)probing->logp[id]);
    putc('}', out);
}

static void write_named(FILE *out, const struct probing *probing)
{
    for (int i = 0; i < probing->n_named; i++)
        for (int rank = 0; rank < probing->vocab; rank++)
            if (probing->rank[rank] == probing->named[i]) {
                fputs(i ? ",\n" : "\n", out);
                write_token(out, probing, rank);
                break;
            }
}

static void write_answer(FILE *out, const struct probing *probing)
{
    fprintf(out, "{\"job\":\"%s\",\"epoch\":%lld,\"ids\":[", probing->job->id,
            (long long)probing->epoch);
    for (int i = 0; i < probing->n_ids; i++)
        fprintf(out, "%s%d", i ? "," : "", probing->ids[i]);
    fputs("],\"top\":[", out);
    for (int rank = 0; rank < probing->top && rank < probing->vocab; rank++) {
        fputs(rank ? ",\n" : "\n", out);
        write_token(out, probing, rank);
    }
    fputs("],\"tokens\":[", out);
    write_named(out, probing);
    fputs("]}\n", out);
}

enum request_result api_probe(struct request *request)
{
    struct probing probing = {0};
    struct request_buffer buffer;
    struct err *err = &request->err;
    int failed = read_question(request, &probing, err);
    if (!failed) {
        const struct probe_question question = {.job = probing.job->id,
                                                .spec = probing.job->spec,
                                                .file = probing.file,
                                                .vocab = probing.vocab,
                                                .ids = probing.ids,
                                                .n = probing.n_ids};
        failed = probe_ask(&request->server->settings, &question, probing.logp, err);
    }
    if (failed && err->code == ERR_TOO_MANY) {
        request_fail_later(request, err, PROBE_RETRY_SECONDS);
    } else if (failed) {
        request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        sort_vocabulary(&probing);
        write_answer(buffer.out, &probing);
        request_close_reply(request, &buffer, 200, API_JSON);
    }
    probing_free(&probing);
    return REQUEST_DONE;
}
