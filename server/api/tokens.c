/* tokens: GET /jobs/{id}/tokens. The tracked tokens of a job: ids and counts (from the
 * facts computed at submit) with their mean log p in the first and the last record; or the
 * whole history of one token; as CSV the history of one token, of a group or of all, in
 * pages of at most TOKENS_CELLS_MAX numbers.
 *
 * The route table calls api_tokens on a pool thread with that thread's database reader.
 * Each request owns its struct tokens and borrows the tokenizer from server/datasets.
 * Invariant: the token array of a record holds the tokens of the facts' groups in the
 * order of the facts, so a running index over groups and ids (`at`) addresses it. */
#include "server/api/tokens.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/bpe.h"
#include "server/datasets.h"
#include "server/http/csv.h"
#include "server/http/large_reply.h"

enum { TOKENS_CELLS_MAX = 4 << 20 }; /* some 80 MB of CSV, on disk (large_reply.h) */

struct tokens_column {
    int at; /* index in a record's token array */
    int32_t id;
};

struct tokens {
    const struct bpe *bpe;
    json_t *groups;      /* of the facts, borrowed */
    const char *group;   /* ?group=; NULL: all groups */
    float *first, *last; /* [n] mean log p in the first and the last record */
    int n;               /* tracked tokens */
    int csv;
    struct tokens_column *columns; /* the requested histories */
    int n_columns;
    int64_t from, to; /* requested epochs; `to` is at most the last stored one */
    int64_t limit;    /* epochs of one answer as CSV */
    FILE *out;        /* of a history */
    struct emit json; /* on out */
    int64_t written;  /* epochs */
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
    tokens->columns = malloc(((size_t)job->n_tokens + 1) * sizeof *tokens->columns);
    if (!tokens->first || !tokens->last || !tokens->columns)
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

static const char *group_name(json_t *group)
{
    return json_string_value(json_object_get(group, "name"));
}

static int group_is_wanted(const struct tokens *tokens, json_t *group)
{
    return !tokens->group || strcmp(group_name(group), tokens->group) == 0;
}

/* A token may be part of a UTF-8 sequence; emit_bytes replaces such bytes. */
static void tokens_write_text(struct emit *json, const struct bpe *bpe, int32_t id)
{
    size_t n = 0;
    const char *bytes = bpe_token(bpe, id, &n);
    emit_bytes(json, "text", bytes ? bytes : "", n);
}

/* Member i of a group; `at` is its index in the records' token array. */
static void tokens_write_one(struct emit *json, const struct tokens *tokens, json_t *group,
                             size_t i, int at)
{
    const json_int_t id = json_integer_value(json_array_get(json_object_get(group, "ids"), i));
    emit_object(json, NULL);
    emit_integer(json, "id", id);
    tokens_write_text(json, tokens->bpe, (int32_t)id);
    emit_text(json, "group", group_name(group));
    emit_integer(json, "count",
                 json_integer_value(json_array_get(json_object_get(group, "counts"), i)));
    emit_float(json, "first", at < tokens->n ? tokens->first[at] : NAN);
    emit_float(json, "last", at < tokens->n ? tokens->last[at] : NAN);
    emit_end(json);
}

static void tokens_write_list(struct emit *json, const struct tokens *tokens)
{
    size_t g;
    int at = 0;
    json_t *group;
    emit_object(json, NULL);
    emit_array(json, "tokens");
    json_array_foreach(tokens->groups, g, group)
    {
        const size_t n = json_array_size(json_object_get(group, "ids"));
        for (size_t i = 0; i < n && group_is_wanted(tokens, group); i++)
            tokens_write_one(json, tokens, group, i, at + (int)i);
        at += (int)n;
    }
    emit_end(json);
    emit_end(json);
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
    tokens_write_list(&buffer.json, tokens);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* ---- the history of one token ---- */

/* ?token= is an id or the text of a token. Returns 1 and the first column of that token, or
 * 0. */
static int tokens_find(const struct tokens *tokens, const char *wanted, struct tokens_column *out)
{
    size_t g, i, n, length = strlen(wanted);
    int at = 0;
    json_t *group, *id;
    /* An id has digits only: " 12" is the text of a token. */
    int is_number = length && length < 10 && strspn(wanted, "0123456789") == length;
    long long number = is_number ? atoll(wanted) : -1;
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i, id)
    {
        const char *text = bpe_token(tokens->bpe, (int32_t)json_integer_value(id), &n);
        if (is_number ? json_integer_value(id) == number
                      : text && n == length && memcmp(text, wanted, n) == 0) {
            *out = (struct tokens_column){at, (int32_t)json_integer_value(id)};
            return 1;
        }
        at++;
    }
    return 0;
}

/* ?token= as the only column. */
static int tokens_one(struct tokens *tokens, const char *wanted, struct err *err)
{
    if (!tokens_find(tokens, wanted, tokens->columns))
        return err_set(err, ERR_NOT_FOUND, "\"%.80s\" is not one of the job's tracked tokens",
                       wanted);
    tokens->n_columns = 1;
    return 0;
}

static int tokens_row(void *self, int64_t epoch, const double *values, int n_values,
                      const float *row, int n_tokens)
{
    struct tokens *tokens = self;
    const int at = tokens->columns->at;
    (void)epoch, (void)values, (void)n_values;
    tokens->written++;
    emit_float(&tokens->json, NULL, at < n_tokens ? row[at] : NAN);
    return 0;
}

/* Count of the token in the first group that holds it, and the names of all its groups. */
static void tokens_write_groups(struct emit *json, const struct tokens *tokens)
{
    size_t g, i;
    int at = 0;
    json_t *group, *id, *count = NULL;
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i, id) if (at++ == tokens->columns->at)
            count = json_array_get(json_object_get(group, "counts"), i);
    emit_integer(json, "count", json_integer_value(count));
    emit_array(json, "groups");
    json_array_foreach(tokens->groups, g, group) json_array_foreach(
        json_object_get(group, "ids"), i, id) if (json_integer_value(id) == tokens->columns->id)
        emit_text(json, NULL, group_name(group));
    emit_end(json);
}

static void tokens_write_epochs(struct emit *json, const struct tokens *tokens)
{
    emit_array(json, "epochs");
    for (int64_t i = 0; i < tokens->written; i++)
        emit_integer(json, NULL, tokens->from + i);
    emit_end(json);
}

static enum request_result tokens_history(struct request *request, const struct job *job,
                                          struct tokens *tokens)
{
    struct err *err = &request->err;
    struct emit *json = &tokens->json;
    if (!(tokens->out = large_reply_open(request, job->epoch * LARGE_REPLY_NUMBER_BYTES, err)))
        return request_fail(request, err);
    emit_open(json, tokens->out, EMIT_LINES);
    emit_object(json, NULL);
    emit_integer(json, "id", tokens->columns->id);
    tokens_write_text(json, tokens->bpe, tokens->columns->id);
    tokens_write_groups(json, tokens);
    emit_array(json, "logp");
    if (epochs_read(request->reader, job->id, tokens->from, tokens->to, tokens_row, tokens, err)) {
        fclose(tokens->out);
        return request_fail(request, err);
    }
    emit_end(json);
    tokens_write_epochs(json, tokens);
    emit_end(json);
    return large_reply_send(request, tokens->out, MEDIA_JSON);
}

/* ---- histories as CSV ---- */

/* Select the tokens of the requested group, or of all groups. Custom groups may share
 * tokens; each token becomes one column. */
static int tokens_columns(struct tokens *tokens, struct err *err)
{
    size_t g, i;
    int at = 0;
    json_t *group, *id;
    unsigned char *seen = calloc(BPE_VOCAB_MAX, 1);
    if (!seen)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d tokens", tokens->n);
    json_array_foreach(tokens->groups, g, group)
        json_array_foreach(json_object_get(group, "ids"), i, id)
    {
        const int32_t token = (int32_t)json_integer_value(id);
        if (at < tokens->n && group_is_wanted(tokens, group) && !seen[token]++)
            tokens->columns[tokens->n_columns++] = (struct tokens_column){at, token};
        at++;
    }
    free(seen);
    return 0;
}

static int tokens_csv_row(void *self, int64_t epoch, const double *values, int n_values,
                          const float *row, int n_tokens)
{
    struct tokens *tokens = self;
    (void)values, (void)n_values;
    fprintf(tokens->out, "%lld", (long long)epoch);
    for (int c = 0; c < tokens->n_columns; c++) {
        const int at = tokens->columns[c].at;
        csv_write_float(tokens->out, at < n_tokens ? row[at] : NAN);
    }
    fputs("\r\n", tokens->out);
    return ++tokens->written == tokens->limit;
}

/* "&group=NAME", percent-encoded, or "&token=ID"; empty if the request is for all tokens. */
static void tokens_link_which(const struct tokens *tokens, int one,
                              char out[3 * RECORD_NAME_MAX + 32])
{
    const char *group = tokens->group;
    if (one)
        out += sprintf(out, "&token=%d", tokens->columns[0].id);
    out += sprintf(out, group ? "&group=" : "");
    for (const char *c = group; c && *c; c++)
        out += sprintf(out, isalnum((unsigned char)*c) ? "%c" : "%%%02X", (unsigned char)*c);
}

/* Set a Link header to the next page if epochs remain. */
static void tokens_link(struct request *request, const struct tokens *tokens, int one,
                        const char *job)
{
    const int64_t next = tokens->from + tokens->written;
    char which[3 * RECORD_NAME_MAX + 32], link[sizeof which + 160];
    if (next > tokens->to || !tokens->written)
        return;
    tokens_link_which(tokens, one, which);
    snprintf(link, sizeof link,
             "</api/v1/jobs/%.40s/tokens?from=%lld&to=%lld&limit=%lld&format=csv%s>; rel=\"next\"",
             job, (long long)next, (long long)tokens->to, (long long)tokens->limit, which);
    request_header(request, MHD_HTTP_HEADER_LINK, link);
}

/* Column names are token ids; the only column of ?token= is `logp`. */
static enum request_result tokens_csv(struct request *request, const struct job *job,
                                      struct tokens *tokens, int one)
{
    struct err *err = &request->err;
    const int64_t most = TOKENS_CELLS_MAX / (tokens->n_columns ? tokens->n_columns : 1);
    const int64_t stored = tokens->to - tokens->from + 1;
    tokens->limit = tokens->limit < most ? tokens->limit : most;
    const int64_t epochs = stored < tokens->limit ? stored : tokens->limit;
    if (!(tokens->out = large_reply_open(
              request, epochs * tokens->n_columns * LARGE_REPLY_NUMBER_BYTES, err)))
        return request_fail(request, err);
    fputs("epoch", tokens->out);
    for (int c = 0; c < tokens->n_columns; c++)
        if (one)
            fputs(",logp", tokens->out);
        else
            fprintf(tokens->out, ",%d", tokens->columns[c].id);
    fputs("\r\n", tokens->out);
    if (epochs_read(request->reader, job->id, tokens->from, tokens->to, tokens_csv_row, tokens,
                    err)) {
        fclose(tokens->out);
        return request_fail(request, err);
    }
    large_reply_send(request, tokens->out, CSV_TYPE);
    tokens_link(request, tokens, one, job->id);
    return REQUEST_DONE;
}

/* ---- the answer ---- */

static int tokens_query(struct request *request, const struct job *job, struct tokens *tokens,
                        struct err *err)
{
    size_t g;
    json_t *group;
    int known = 0;
    tokens->group = request_query(request, "group");
    json_array_foreach(tokens->groups, g, group) known |= group_is_wanted(tokens, group);
    if (tokens->group && !known)
        err_field(err, "group", "\"%.80s\" is not a group of this job", tokens->group);
    request_query_int(request, "from", 0, SPEC_EPOCHS_MAX, 0, &tokens->from, err);
    request_query_int(request, "to", 0, SPEC_EPOCHS_MAX, SPEC_EPOCHS_MAX, &tokens->to, err);
    request_query_int(request, "limit", 1, SPEC_EPOCHS_MAX, SPEC_EPOCHS_MAX, &tokens->limit, err);
    csv_wanted(request, &tokens->csv, err);
    if (tokens->to > job->epoch)
        tokens->to = job->epoch;
    return err->n_fields ? -1 : 0;
}

static enum request_result tokens_answer(struct request *request, const struct job *job,
                                         struct tokens *tokens)
{
    const char *wanted = request_query(request, "token");
    struct err *err = &request->err;
    if (wanted ? tokens_one(tokens, wanted, err) : tokens->csv && tokens_columns(tokens, err))
        return request_fail(request, err);
    if (tokens->csv)
        return tokens_csv(request, job, tokens, wanted != NULL);
    return wanted ? tokens_history(request, job, tokens) : tokens_list(request, job, tokens);
}

enum request_result api_tokens(struct request *request)
{
    struct tokens tokens = {0};
    struct job *job = NULL;
    struct err *err = &request->err;
    if (job_get(request->reader, request->params[0], &job, err))
        return request_fail(request, err);
    json_t *facts = json_loads(job->facts ? job->facts : "{}", 0, NULL);
    if (tokens_open(request, job, facts, &tokens, err) || tokens_query(request, job, &tokens, err))
        request_fail(request, err);
    else
        tokens_answer(request, job, &tokens);
    csv_vary(request);
    free(tokens.first), free(tokens.last), free(tokens.columns);
    json_decref(facts);
    job_free(job);
    return REQUEST_DONE;
}
