/* api_tokens: the tracked tokens of a job: which they are and how often they
 * occur (from the facts made at submit), their mean log p in the first and the
 * last record, or one token's whole history. Pool. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "server/api.h"
#include "server/datasets.h"
#include "server/json.h"
#include "server/spool.h"

struct tokens {
    const struct bpe *bpe;
    json_t *groups; /* of the facts */
    float *first, *last;
    int n;      /* tracked tokens */
    int column; /* of the history asked for, -1 = none */
    FILE *out;
    int64_t written;
};

static int tokens_copy(void *self, int64_t epoch, const double *values, int n_values,
                       const float *tokens, int n_tokens)
{
    float *to = self;
    (void)epoch, (void)values, (void)n_values;
    memcpy(to, tokens, (size_t)n_tokens * sizeof *to);
    return 0;
}

static int tokens_open(struct request *request, const struct job *job, json_t *facts,
                       struct tokens *tokens, struct err *err)
{
    struct spec *spec = NULL;
    tokens->groups = json_object_get(facts, "groups");
    tokens->n = job->n_tokens;
    tokens->first = malloc(((size_t)job->n_tokens + 1) * sizeof *tokens->first);
    tokens->last = malloc(((size_t)job->n_tokens + 1) * sizeof *tokens->last);
    if (!tokens->first || !tokens->last)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d tokens", job->n_tokens);
    for (int i = 0; i < job->n_tokens; i++)
        tokens->first[i] = tokens->last[i] = NAN;
    if (spec_parse(job->spec, strlen(job->spec), &spec, err))
        return -1;
    int failed =
        datasets_tokenizer(request->server->datasets, spec->corpus.tokenizer, &tokens->bpe, err);
    spec_free(spec);
    return failed;
}

static void tokens_write_text(FILE *out, const struct bpe *bpe, int32_t id)
{
    size_t n = 0;
    const char *bytes = bpe_token(bpe, id, &n);
    json_write_bytes(out, bytes ? bytes : "", n);
}

static void tokens_write_list(FILE *out, const struct tokens *tokens)
{
    size_t g, i;
    int at = 0;
    json_t *group, *id;
    fputs("{\"tokens\":[", out);
    json_array_foreach(tokens->groups, g, group)
    {
        json_t *counts = json_object_get(group, "counts");
        json_array_foreach(json_object_get(group, "ids"), i, id)
        {
            fprintf(out, "%s\n{\"id\":%lld,\"text\":", at ? "," : "",
                    (long long)json_integer_value(id));
            tokens_write_text(out, tokens->bpe, (int32_t)json_integer_value(id));
            fputs(",\"group\":", out);
            json_write_string(out, json_string_value(json_object_get(group, "name")));
            fprintf(out, ",\"count\":%lld,\"first\":",
                    (long long)json_integer_value(json_array_get(counts, i)));
            record_print_number(out, at < tokens->n ? (double)tokens->first[at] : NAN);
            fputs(",\"last\":", out);
            record_print_number(out, at < tokens->n ? (double)tokens->last[at] : NAN);
            putc('}', out);
            at++;
        }
    }
    fputs("]}\n", out);
}

static enum request_result tokens_list(struct request *request, const struct job *job,
                                       struct tokens *tokens)
{
    struct request_buffer buffer;
    struct err *err = &request->err;
    if (job->epoch >= 0 &&
        (epochs_read(request->reader, job->id, 0, 0, tokens_copy, tokens->first, err) ||
         epochs_read(request->reader, job->id, job->epoch, job->epoch, tokens_copy, tokens->last,
                     err)))
        return request_fail(request, err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    tokens_write_list(buffer.out, tokens);
    return request_close_reply(request, &buffer, 200, API_JSON);
}

/* ---- one token ---- */

/* ?token= is an id or the token's text; the first column that holds it. */
static int tokens_find(const struct tokens *tokens, const char *wanted)
{
    size_t g, i, n, length = strlen(wanted);
    int at = 0;
    json_t *group, *id;
    /* " 12" is a token's text; only digits are an id. */
    int is_number = length && length < 10 && strspn(wanted, "0123456789") == length;
    long long number = is_number ? atoll(wanted) : -1;
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i, id)
    {
        const char *text = bpe_token(tokens->bpe, (int32_t)json_integer_value(id), &n);
        if (is_number ? json_integer_value(id) == number
                      : text && n == length && memcmp(text, wanted, n) == 0)
            return at;
        at++;
    }
    return -1;
}

static int tokens_row(void *self, int64_t epoch, const double *values, int n_values,
                      const float *row, int n_tokens)
{
    struct tokens *tokens = self;
    (void)epoch, (void)values, (void)n_values;
    fputs(tokens->written++ ? "," : "", tokens->out);
    record_print_number(tokens->out, tokens->column < n_tokens ? (double)row[tokens->column] : NAN);
    return 0;
}

/* id, text, count and the groups the token stands in, up to the epochs. */
static void tokens_write_head(FILE *out, const struct tokens *tokens)
{
    size_t g, i;
    int at = 0, n_groups = 0;
    json_t *group, *id, *wanted = NULL, *count = NULL;
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i, id) if (at++ == tokens->column)
    {
        wanted = id;
        count = json_array_get(json_object_get(group, "counts"), i);
    }
    fprintf(out, "{\"id\":%lld,\"text\":", (long long)json_integer_value(wanted));
    tokens_write_text(out, tokens->bpe, (int32_t)json_integer_value(wanted));
    fprintf(out, ",\"count\":%lld,\"groups\":[", (long long)json_integer_value(count));
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i,
                           id) if (json_integer_value(id) == json_integer_value(wanted))
    {
        fputs(n_groups++ ? "," : "", out);
        json_write_string(out, json_string_value(json_object_get(group, "name")));
    }
}

static enum request_result tokens_history(struct request *request, const struct job *job,
                                          struct tokens *tokens, const char *wanted)
{
    struct err *err = &request->err;
    tokens->column = tokens_find(tokens, wanted);
    if (tokens->column < 0) {
        err_set(err, ERR_NOT_FOUND, "\"%.80s\" is not one of the job's tracked tokens", wanted);
        return request_fail(request, err);
    }
    if (!(tokens->out = spool_open(request, job->epoch * API_NUMBER_BYTES, err)))
        return request_fail(request, err);
    tokens_write_head(tokens->out, tokens);
    fputs("],\"logp\":[", tokens->out);
    if (epochs_read(request->reader, job->id, 0, job->epoch, tokens_row, tokens, err)) {
        fclose(tokens->out);
        return request_fail(request, err);
    }
    fputs("],\"epochs\":[", tokens->out);
    for (int64_t epoch = 0; epoch < tokens->written; epoch++)
        fprintf(tokens->out, "%s%lld", epoch ? "," : "", (long long)epoch);
    fputs("]}\n", tokens->out);
    return spool_reply(request, tokens->out, API_JSON);
}

enum request_result api_tokens(struct request *request)
{
    struct tokens tokens = {.column = -1};
    struct job *job = NULL;
    const char *wanted = request_query(request, "token");
    if (job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    json_t *facts = json_loads(job->facts ? job->facts : "{}", 0, NULL);
    if (tokens_open(request, job, facts, &tokens, &request->err))
        request_fail(request, &request->err);
    else if (wanted)
        tokens_history(request, job, &tokens, wanted);
    else
        tokens_list(request, job, &tokens);
    free(tokens.first), free(tokens.last);
    json_decref(facts);
    job_free(job);
    return REQUEST_DONE;
}
