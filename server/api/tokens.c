/* tokens: GET /jobs/{id}/tokens. The tracked tokens of a job: ids and counts (from the
 * facts computed at submit) with their mean log p in the first and the last record; or the
 * whole history of one token; as CSV the history of one token, of a group or of all, in
 * pages of at most TOKENS_CELLS_MAX numbers.
 *
 * The route table calls api_tokens on a pool thread with that thread's database reader.
 * Histories are written in pieces (large_reply.h), each from a read of its own. The answer of
 * a history owns its struct tokens, else the request does; both borrow the tokenizer from
 * server/datasets.
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
#include "config/record_grid.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/bpe.h"
#include "server/datasets.h"
#include "server/http/csv.h"
#include "server/http/large_reply.h"

enum { TOKENS_CELLS_MAX = 4 << 20 }; /* some 80 MB of CSV */

struct tokens_column {
    int at; /* index in a record's token array */
    int32_t id;
};

struct tokens {
    const struct bpe *bpe;
    json_t *facts;       /* of the job; NULL once a history has begun */
    json_t *groups;      /* of the facts, borrowed */
    const char *group;   /* ?group=; NULL: all groups */
    float *first, *last; /* [n] mean log p in the first and the last record */
    int n;               /* tracked tokens */
    int csv;
    struct tokens_column *columns; /* the requested histories */
    int n_columns;
    int one;          /* 1: columns[0] is ?token= */
    int64_t from, to; /* requested epochs; `to` is at most the last stored one */
    int64_t limit;    /* records of one answer as CSV */

    /* of a history */
    char job[DB_ID_MAX];
    int attempt; /* of the job */
    struct large_reply *reply;
    struct emit json;        /* on reply->out */
    int64_t next, end;       /* epoch to be written next; last epoch of the answer */
    int64_t listed;          /* JSON: epoch whose number comes next; -1 before the first */
    struct record_grid grid; /* of the job */
    int begun;
};

/* The facts and the arrays of the list are not needed for the rows of a history. */
static void tokens_drop_facts(struct tokens *tokens)
{
    json_decref(tokens->facts);
    free(tokens->first), free(tokens->last);
    tokens->facts = tokens->groups = NULL;
    tokens->first = tokens->last = NULL;
}

static void tokens_free(void *state)
{
    struct tokens *tokens = state;
    tokens_drop_facts(tokens);
    free(tokens->columns);
    free(tokens);
}

static int tokens_copy(void *self, int64_t epoch, const double *values, int n_values,
                       const float *tokens, int n_tokens)
{
    float *to = self;
    (void)epoch, (void)values, (void)n_values;
    memcpy(to, tokens, (size_t)n_tokens * sizeof *to);
    return 0;
}

static int tokens_open(struct request *request, const struct job *job, struct tokens *tokens,
                       struct err *err)
{
    struct spec *spec = NULL;
    tokens->facts = json_loads(job->facts ? job->facts : "{}", 0, NULL);
    tokens->groups = json_object_get(tokens->facts, "groups");
    tokens->n = job->n_tokens;
    tokens->attempt = job->attempt;
    strcpy(tokens->job, job->id);
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

/* ---- pieces of a history ---- */

/* As of epochs.c: pieces of one answer come from one attempt of the job. */
static int tokens_check_attempt(const struct tokens *tokens, struct db_reader *reader,
                                struct err *err)
{
    struct job *job = NULL;
    if (job_get(reader, tokens->job, &job, err))
        return -1;
    const int same = job->attempt == tokens->attempt;
    job_free(job);
    return same ? 0
                : err_set(err, ERR_CONFLICT, "job %s began anew while its tokens were read",
                          tokens->job);
}

/* Rows from tokens->next until the piece is full or the last epoch is written. */
static int tokens_rows(struct tokens *tokens, epochs_row *row, struct err *err)
{
    struct large_reply *reply = tokens->reply;
    struct db_reader *reader = reply->request->reader;
    if (tokens->next > tokens->end)
        return 0;
    if (epochs_read(reader, tokens->job, tokens->next, tokens->end, row, tokens, err) ||
        tokens_check_attempt(tokens, reader, err))
        return -1;
    if (tokens->next <= tokens->end && !large_reply_is_full(reply))
        return err_set(err, ERR_CONFLICT, "job %s has no epoch %lld any more", tokens->job,
                       (long long)tokens->next);
    return 0;
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
    tokens->n_columns = tokens->one = 1;
    return 0;
}

static int tokens_row(void *self, int64_t epoch, const double *values, int n_values,
                      const float *row, int n_tokens)
{
    struct tokens *tokens = self;
    const int at = tokens->columns->at;
    (void)values, (void)n_values;
    if (epoch != tokens->next)
        return 1;
    emit_float(&tokens->json, NULL, at < n_tokens ? row[at] : NAN);
    tokens->next = record_grid_from(tokens->grid, epoch + 1);
    return large_reply_is_full(tokens->reply);
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

static void tokens_begin_history(struct tokens *tokens)
{
    struct emit *json = &tokens->json;
    emit_open(json, tokens->reply->out, EMIT_LINES);
    emit_object(json, NULL);
    emit_integer(json, "id", tokens->columns->id);
    tokens_write_text(json, tokens->bpe, tokens->columns->id);
    tokens_write_groups(json, tokens);
    emit_array(json, "logp");
    tokens_drop_facts(tokens);
    tokens->begun = 1;
}

/* First all log p, then the numbers of their epochs. */
static int tokens_write_history(void *state, struct large_reply *reply, struct err *err)
{
    struct tokens *tokens = state;
    struct emit *json = &tokens->json;
    tokens->reply = reply;
    if (!tokens->begun)
        tokens_begin_history(tokens);
    if (tokens_rows(tokens, tokens_row, err))
        return -1;
    if (tokens->next <= tokens->end)
        return 1;
    if (tokens->listed < 0) {
        tokens->listed = record_grid_from(tokens->grid, tokens->from);
        emit_end(json);
        emit_array(json, "epochs");
    }
    while (tokens->listed <= tokens->end && !large_reply_is_full(reply)) {
        emit_integer(json, NULL, tokens->listed);
        tokens->listed = record_grid_from(tokens->grid, tokens->listed + 1);
    }
    if (tokens->listed <= tokens->end)
        return 1;
    emit_end(json);
    emit_end(json);
    return 0;
}

static enum request_result tokens_history(struct request *request, struct tokens *tokens)
{
    tokens->next = record_grid_from(tokens->grid, tokens->from);
    tokens->end = tokens->to;
    tokens->listed = -1;
    return large_reply_start(request, MEDIA_JSON, tokens_write_history, tokens, tokens_free);
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
    FILE *out = tokens->reply->out;
    (void)values, (void)n_values;
    if (epoch != tokens->next)
        return 1;
    fprintf(out, "%lld", (long long)epoch);
    for (int c = 0; c < tokens->n_columns; c++) {
        const int at = tokens->columns[c].at;
        csv_write_float(out, at < n_tokens ? row[at] : NAN);
    }
    fputs("\r\n", out);
    tokens->next = record_grid_from(tokens->grid, epoch + 1);
    return large_reply_is_full(tokens->reply);
}

enum { TOKENS_LINK_WHICH = 3 * RECORD_NAME_MAX + 32, TOKENS_LINK = TOKENS_LINK_WHICH + 160 };

/* "&group=NAME", percent-encoded, or "&token=ID"; empty if the request is for all tokens. */
static void tokens_link_which(const struct tokens *tokens, char out[TOKENS_LINK_WHICH])
{
    const char *group = tokens->group;
    if (tokens->one)
        out += sprintf(out, "&token=%d", tokens->columns[0].id);
    out += sprintf(out, group ? "&group=" : "");
    for (const char *c = group; c && *c; c++)
        out += sprintf(out, isalnum((unsigned char)*c) ? "%c" : "%%%02X", (unsigned char)*c);
}

/* Text of the Link header to the next page; empty if no epochs remain. */
static void tokens_link(const struct tokens *tokens, char link[TOKENS_LINK])
{
    char which[TOKENS_LINK_WHICH];
    link[0] = '\0';
    if (tokens->end >= tokens->to)
        return;
    tokens_link_which(tokens, which);
    snprintf(link, TOKENS_LINK, "<?from=%lld&to=%lld&limit=%lld&format=csv%s>; rel=\"next\"",
             (long long)tokens->end + 1, (long long)tokens->to, (long long)tokens->limit, which);
}

/* Column names are token ids; the only column of ?token= is `logp`. */
static void tokens_begin_csv(struct tokens *tokens)
{
    FILE *out = tokens->reply->out;
    fputs("epoch", out);
    for (int c = 0; c < tokens->n_columns; c++)
        if (tokens->one)
            fputs(",logp", out);
        else
            fprintf(out, ",%d", tokens->columns[c].id);
    fputs("\r\n", out);
    tokens_drop_facts(tokens);
    tokens->begun = 1;
}

static int tokens_write_csv(void *state, struct large_reply *reply, struct err *err)
{
    struct tokens *tokens = state;
    tokens->reply = reply;
    if (!tokens->begun)
        tokens_begin_csv(tokens);
    return tokens_rows(tokens, tokens_csv_row, err) ? -1 : tokens->next <= tokens->end;
}

/* The tokens are not touched after large_reply_start, which may have freed them. */
static enum request_result tokens_csv(struct request *request, struct tokens *tokens)
{
    char link[TOKENS_LINK];
    const int64_t most = TOKENS_CELLS_MAX / (tokens->n_columns ? tokens->n_columns : 1);
    tokens->limit = tokens->limit < most ? tokens->limit : most;
    tokens->next = record_grid_from(tokens->grid, tokens->from);
    tokens->end = tokens->to;
    if (tokens->next <= tokens->to && record_grid_count(tokens->grid, tokens->to) -
                                              record_grid_count(tokens->grid, tokens->next) >=
                                          tokens->limit)
        tokens->end = record_grid_ahead(tokens->grid, tokens->next, tokens->limit - 1);
    tokens_link(tokens, link);
    large_reply_start(request, CSV_TYPE, tokens_write_csv, tokens, tokens_free);
    if (link[0] && request->status == 200)
        request_header(request, MHD_HTTP_HEADER_LINK, link);
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
    tokens->grid = (struct record_grid){job->record_every, job->epochs};
    tokens->to = record_grid_to(tokens->grid, tokens->to < job->epoch ? tokens->to : job->epoch);
    return err->n_fields ? -1 : 0;
}

/* Takes the tokens over. */
static enum request_result tokens_answer(struct request *request, const struct job *job,
                                         struct tokens *tokens)
{
    const char *wanted = request_query(request, "token");
    struct err *err = &request->err;
    if (tokens_open(request, job, tokens, err) || tokens_query(request, job, tokens, err) ||
        (wanted ? tokens_one(tokens, wanted, err) : tokens->csv && tokens_columns(tokens, err)))
        request_fail(request, err);
    else if (tokens->csv)
        return tokens_csv(request, tokens);
    else if (wanted)
        return tokens_history(request, tokens);
    else
        tokens_list(request, job, tokens);
    tokens_free(tokens);
    return REQUEST_DONE;
}

enum request_result api_tokens(struct request *request)
{
    struct tokens *tokens = NULL;
    struct job *job = NULL;
    struct err *err = &request->err;
    if (job_get(request->reader, request->params[0], &job, err))
        return request_fail(request, err);
    if ((tokens = calloc(1, sizeof *tokens))) {
        tokens_answer(request, job, tokens);
    } else {
        err_set(err, ERR_NO_MEMORY, "no memory for the tokens of a job");
        request_fail(request, err);
    }
    csv_vary(request);
    job_free(job);
    return REQUEST_DONE;
}
