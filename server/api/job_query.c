/* job_query: see job_query.h. */
#include "server/api/job_query.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/spec.h"
#include "config/utf8.h"
#include "db/jobs.h"

/* What a value of a field is compared as. */
enum query_kind { QUERY_TEXT, QUERY_NUMBER, QUERY_STATE, QUERY_USER, QUERY_ANY };

static const struct {
    const char *name;
    enum query_kind kind;
} query_fields[] = {
    {"id", QUERY_TEXT},      {"name", QUERY_TEXT},      {"user", QUERY_USER},
    {"state", QUERY_STATE},  {"tag", QUERY_TEXT},       {"sweep", QUERY_TEXT},
    {"device", QUERY_TEXT},  {"loss", QUERY_NUMBER},    {"priority", QUERY_NUMBER},
    {"epoch", QUERY_NUMBER}, {"attempt", QUERY_NUMBER},
};
enum { QUERY_FIELDS = sizeof query_fields / sizeof *query_fields };

/* Longer ones first: <= begins with <. */
static const struct {
    const char *sign, *op; /* op: as job_filter.terms names it */
    int is_list, is_not;
} query_operators[] = {
    {"<=", "<=", 0, 0}, {">=", ">=", 0, 0}, {"!=", "in", 1, 1}, {"<", "<", 0, 0},
    {">", ">", 0, 0},   {"=", "in", 1, 0},  {":", "in", 1, 0},
};
enum { QUERY_OPERATORS = sizeof query_operators / sizeof *query_operators };

struct query {
    const char *at;      /* what is still to be read */
    const char *pointer; /* of the search, for errors */
    const char *user;    /* whom `me` means */
    struct emit json;
    int n;
    struct err *err;
};

static int query_bad(struct query *query, const char *what, const char *text, size_t n)
{
    return err_field(query->err, query->pointer, "%s \"%.*s\"", what, n > 60 ? 60 : (int)n, text);
}

/* One value in quotes, or what lies before one of `ends` or a blank: *n bytes at *text. */
static int query_word(struct query *query, const char *ends, const char **text, size_t *n)
{
    const int is_quoted = *query->at == '"';
    *text = query->at + is_quoted;
    *n = is_quoted ? strcspn(*text, "\"") : strcspn(*text, ends);
    if (is_quoted && !(*text)[*n])
        return err_field(query->err, query->pointer, "a quote is not closed: %.60s", query->at);
    query->at = *text + *n + is_quoted;
    return 0;
}

/* ---- one term ---- */

struct query_field {
    const char *name; /* of query_fields, or "spec" */
    enum query_kind kind;
    const char *pointer, *fallback; /* of the spec */
};

static int query_find(struct query *query, const char *text, size_t n, struct query_field *field)
{
    char name[64];
    for (int i = 0; i < QUERY_FIELDS; i++)
        if (strlen(query_fields[i].name) == n && strncmp(query_fields[i].name, text, n) == 0) {
            *field = (struct query_field){query_fields[i].name, query_fields[i].kind, NULL, NULL};
            return 0;
        }
    *field = (struct query_field){.name = "spec", .kind = QUERY_ANY};
    if (n < sizeof name) {
        memcpy(name, text, n);
        name[n] = '\0';
        if (spec_find(name, &field->pointer, &field->fallback) == 0)
            return 0;
    }
    return query_bad(query, "there is no field", text, n);
}

/* "$.train.lr" of "/train/lr". */
static void query_emit_path(struct query *query, const char *pointer)
{
    char path[64] = "$";
    for (size_t i = 0; i + 1 < sizeof path - 1 && pointer[i]; i++) {
        path[i + 1] = pointer[i] == '/' ? '.' : pointer[i];
        path[i + 2] = '\0';
    }
    emit_text(&query->json, "path", path);
}

/* Numbers and words of JSON are values of their own in the spec (`true`, 0.001), else it is text. */
static int query_emit_value(struct query *query, const struct query_field *field, int is_number,
                            const char *text, size_t n)
{
    const int may_be = field->kind == QUERY_ANY || field->kind == QUERY_NUMBER;
    char *copy = strndup(text, n);
    json_t *value =
        may_be ? json_loadb(text, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL) : NULL;
    int failed = copy ? 0 : err_set(query->err, ERR_NO_MEMORY, "no memory for a search");
    if (copy && field->kind == QUERY_STATE && job_state_from_name(copy) < 0)
        failed = query_bad(query, "there is no state", text, n);
    else if (json_is_real(value))
        emit_number(&query->json, NULL, json_real_value(value));
    else if (is_number || field->kind == QUERY_NUMBER)
        failed = query_bad(query, "this is compared with a number:", text, n);
    else if (json_is_boolean(value))
        emit_bool(&query->json, NULL, json_boolean_value(value));
    else if (copy && field->kind == QUERY_USER && strcmp(copy, "me") == 0)
        emit_text(&query->json, NULL, query->user);
    else if (copy)
        emit_text(&query->json, NULL, copy);
    json_decref(value);
    free(copy);
    return failed;
}

/* is_list: several are allowed; else one, which is a number if is_number. */
static int query_values(struct query *query, const struct query_field *field, int is_list,
                        int is_number)
{
    const char *text;
    size_t n;
    int failed = 0, goes_on = 1;
    emit_array(&query->json, "values");
    while (!failed && goes_on) {
        failed = query_word(query, is_list ? ", \t\n" : " \t\n", &text, &n) ||
                 query_emit_value(query, field, is_number, text, n);
        goes_on = is_list && *query->at == ',';
        query->at += goes_on;
    }
    emit_end(&query->json);
    return failed;
}

/* FIELD OP VALUES. op: index of query_operators; the field has n bytes. */
static int query_comparison(struct query *query, int op, size_t n, int is_not)
{
    struct query_field field;
    if (query_find(query, query->at, n, &field))
        return -1;
    query->at += n + strlen(query_operators[op].sign);
    emit_text(&query->json, "field", field.name);
    if (field.pointer) {
        query_emit_path(query, field.pointer);
        emit_raw(&query->json, "fallback", field.fallback);
    }
    emit_text(&query->json, "op", query_operators[op].op);
    emit_integer(&query->json, "not", is_not != query_operators[op].is_not);
    return query_values(query, &field, query_operators[op].is_list, !query_operators[op].is_list);
}

static int query_free_word(struct query *query, int is_not)
{
    static const struct query_field words = {.name = "word", .kind = QUERY_TEXT};
    emit_text(&query->json, "field", words.name);
    emit_integer(&query->json, "not", is_not);
    return query_values(query, &words, 0, 0);
}

/* Bytes before an operator, if the term begins with letters and one; *op is its index, -1 if not. */
static size_t query_field_length(const char *at, int *op)
{
    const size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    *op = -1;
    for (int i = 0; i < QUERY_OPERATORS && n && *op < 0; i++)
        if (strncmp(at + n, query_operators[i].sign, strlen(query_operators[i].sign)) == 0)
            *op = i;
    return n;
}

static int query_term(struct query *query)
{
    int op;
    const int is_not = query->at[0] == '-' && query->at[1] && !strchr(" \t\n", query->at[1]);
    query->at += is_not;
    if (++query->n > JOB_QUERY_TERMS_MAX)
        return err_field(query->err, query->pointer, "it has more than %d terms",
                         JOB_QUERY_TERMS_MAX);
    emit_object(&query->json, NULL);
    const size_t n = query_field_length(query->at, &op);
    const int failed =
        op >= 0 ? query_comparison(query, op, n, is_not) : query_free_word(query, is_not);
    emit_end(&query->json);
    return failed;
}

int job_query_parse(const char *text, const char *pointer, const char *user, char **out,
                    struct err *err)
{
    struct query query = {.at = text, .pointer = pointer, .user = user, .err = err};
    const size_t valid = utf8_valid(text, strlen(text));
    if (text[valid])
        return err_field(err, pointer, "byte %zu begins no UTF-8", valid + 1);
    if (emit_open_text(&query.json))
        return err_set(err, ERR_NO_MEMORY, "no memory for a search");
    int failed = 0;
    emit_array(&query.json, NULL);
    while (!failed && *(query.at += strspn(query.at, " \t\n")))
        failed = query_term(&query);
    emit_end(&query.json);
    char *terms = emit_close_text(&query.json);
    if (failed || !terms) {
        free(terms);
        return failed ? -1 : err_set(err, ERR_NO_MEMORY, "no memory for a search");
    }
    *out = terms;
    return 0;
}
