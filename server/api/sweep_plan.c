/* sweep_plan: see sweep_plan.h. The specs are made as JSON and parsed like posted ones, so
 * this file knows no field of the spec but the name and the seeds. */
#include "server/api/sweep_plan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/hash.h"
#include "config/input.h"
#include "config/spec_kind.h"
#include "config/text_name.h"
#include "server/api/after_json.h"

enum { NAME_FIELD_MAX = 30, NAME_VALUE_MAX = 60 }; /* bytes of each in the name of a job */

static const char *const seeds[] = {"train.seed", "train.seed_weights", "train.seed_data",
                                    "train.seed_groups"};

int sweep_plan_is_seed(const char *field)
{
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        if (strcmp(seeds[i], field) == 0)
            return 1;
    return 0;
}

/* ---- the posted object ---- */

struct vary {
    int n, jobs;
    const char *field[SWEEP_FIELDS_MAX];
    const json_t *values[SWEEP_FIELDS_MAX];
};

/* "/vary/NAME", NAME escaped (RFC 6901). */
static void pointer_of(const char *field, char *out, size_t n)
{
    size_t used = (size_t)snprintf(out, n, "/vary/");
    for (const char *at = field; *at && used + 3 < n; at++) {
        const char *escaped = *at == '~' ? "~0" : *at == '/' ? "~1" : NULL;
        if (escaped)
            used += (size_t)snprintf(out + used, n - used, "%s", escaped);
        else
            out[used++] = *at;
    }
    out[used] = '\0';
}

/* 1 if a dotted field lies within another one: "train.seed" in "train". */
static int is_within(const char *field, const char *other)
{
    const size_t n = strlen(other);
    return strncmp(field, other, n) == 0 && field[n] == '.';
}

static int has_twice(const json_t *values)
{
    for (size_t i = 0; i < json_array_size(values); i++)
        for (size_t j = 0; j < i; j++)
            if (json_equal(json_array_get(values, i), json_array_get(values, j)))
                return 1;
    return 0;
}

static void check_values(const char *field, const json_t *values, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    pointer_of(field, pointer, sizeof pointer);
    if (!json_array_size(values))
        err_field(err, pointer, "must be a list with at least one value");
    else if (json_array_size(values) > SWEEP_JOBS_MAX)
        err_field(err, pointer, "%zu values; a sweep has at most %d jobs", json_array_size(values),
                  SWEEP_JOBS_MAX);
    else if (has_twice(values))
        err_field(err, pointer, "a value stands there twice");
}

/* A field may not be varied by itself and within another field. */
static void check_nesting(const struct vary *vary, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    for (int f = 0; f < vary->n; f++)
        for (int g = 0; g < vary->n; g++)
            if (is_within(vary->field[g], vary->field[f])) {
                pointer_of(vary->field[f], pointer, sizeof pointer);
                err_field(err, pointer, "holds \"%.80s\", which is varied too", vary->field[g]);
            }
}

static int read_vary(json_t *object, struct vary *vary, struct err *err)
{
    const char *field;
    json_t *values;
    double jobs = 1;
    if (!json_object_size(object) || json_object_size(object) > SWEEP_FIELDS_MAX)
        return err_field(err, "/vary", "must be an object of 1 to %d fields, each with a list",
                         SWEEP_FIELDS_MAX);
    json_object_foreach(object, field, values)
    {
        check_values(field, values, err);
        vary->field[vary->n] = field;
        vary->values[vary->n++] = values;
        jobs *= (double)json_array_size(values);
    }
    check_nesting(vary, err);
    if (err->n_fields)
        return -1;
    if (jobs > SWEEP_JOBS_MAX)
        return err_field(err, "/vary", "%.0f combinations; a sweep has at most %d jobs", jobs,
                         SWEEP_JOBS_MAX);
    vary->jobs = (int)jobs;
    return 0;
}

int sweep_plan_read_limit(const json_t *value, int64_t *out, struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    int64_t limit = 0;
    if (!json_is_null(value) &&
        (!input_integer(value, &limit) || limit < 1 || limit > SWEEP_JOBS_MAX))
        return err_field(err, "/max_running", "%s is neither null nor an integer from 1 to %d",
                         spec_quote(value, quoted), SWEEP_JOBS_MAX);
    *out = limit;
    return 0;
}

static int check_object(json_t *body, struct err *err)
{
    int64_t limit;
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        char pointer[ERR_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/%.80s", key);
        if (strcmp(key, "base") == 0 || strcmp(key, "vary") == 0) {
            if (!json_is_object(value))
                err_field(err, pointer, "must be an object");
        } else if (strcmp(key, "max_running") == 0) {
            sweep_plan_read_limit(value, &limit, err);
        } else if (strcmp(key, "name") != 0) {
            err_field(err, pointer, "is not a field of a sweep: name, base, vary, max_running");
        } else if (!json_is_string(value) || json_string_length(value) > SPEC_NAME_MAX) {
            err_field(err, pointer, "must be a text of at most %d bytes", SPEC_NAME_MAX);
        } else {
            text_name_check_label(json_string_value(value), pointer, err);
        }
    }
    if (!json_object_get(body, "vary"))
        err_field(err, "/vary", "is missing: the fields to vary, each with a list of values");
    return err->n_fields ? -1 : 0;
}

/* ---- one combination ---- */

/* Puts a value at a dotted path. A null on the way becomes an object, because presets print
 * a remedy that is off as null. -1 if anything else on the way is not an object. */
static int put(json_t *spec, const char *field, const json_t *value)
{
    char *copy = strdup(field), *at = copy, *word;
    json_t *object = spec;
    int failed = !copy;
    while (!failed && (word = strsep(&at, "."))) {
        if (!at) {
            failed = json_object_set_new(object, word, json_deep_copy(value)) != 0;
            break;
        }
        json_t *next = json_object_get(object, word);
        if ((!next || json_is_null(next)) && json_object_set_new(object, word, json_object()) == 0)
            next = json_object_get(object, word);
        failed = !json_is_object(next);
        object = next;
    }
    free(copy);
    return failed ? -1 : 0;
}

static const json_t *value_of(const struct vary *vary, int job, int field)
{
    for (int f = vary->n - 1; f > field; f--)
        job /= (int)json_array_size(vary->values[f]);
    return json_array_get(vary->values[field], (size_t)job % json_array_size(vary->values[field]));
}

/* Length of the longest prefix of at most n bytes that cuts no UTF-8 character. */
static size_t whole_characters(const char *text, size_t n)
{
    size_t length = strlen(text);
    if (length <= n)
        return length;
    while (n && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

/* "gulliver tie=untied seed=2", as far as it fits. */
static void name_job(json_t *spec, const struct vary *vary, int job, const char *name)
{
    char text[2 * SPEC_NAME_MAX + 64];
    size_t used = whole_characters(name, SPEC_NAME_MAX);
    memcpy(text, name, used);
    for (int f = 0; f < vary->n && used < SPEC_NAME_MAX; f++) {
        const char *dot = strrchr(vary->field[f], '.');
        const json_t *value = value_of(vary, job, f);
        char *word =
            json_is_string(value)
                ? strdup(json_string_value(value))
                : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
        const char *field = dot ? dot + 1 : vary->field[f], *shown = word ? word : "";
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s=%.*s", used ? " " : "",
                                 (int)whole_characters(field, NAME_FIELD_MAX), field,
                                 (int)whole_characters(shown, NAME_VALUE_MAX), shown);
        free(word);
    }
    text[used] = '\0';
    json_object_set_new(spec, "name",
                        json_stringn_nocheck(text, whole_characters(text, SPEC_NAME_MAX)));
}

static int is_varied(const struct vary *vary, const char *field)
{
    for (int f = 0; f < vary->n; f++)
        if (strcmp(vary->field[f], field) == 0)
            return 1;
    return 0;
}

static int build_spec(struct sweep_plan *plan, const json_t *base, const struct vary *vary, int job,
                      struct err *err)
{
    json_t *spec = json_deep_copy(base), *setting = json_object();
    struct err bad = ERR_INIT;
    char pointer[ERR_POINTER_MAX];
    for (int f = 0; f < vary->n; f++) {
        const json_t *value = value_of(vary, job, f);
        json_object_set_new(setting, vary->field[f], json_deep_copy(value));
        if (put(spec, vary->field[f], value) != 0) {
            pointer_of(vary->field[f], pointer, sizeof pointer);
            err_field(&bad, pointer, "\"%.80s\" is not a field of a spec", vary->field[f]);
        }
    }
    if (!is_varied(vary, "name"))
        name_job(spec, vary, job, plan->name);
    plan->setting[job] = spec_dumps(setting);
    char *text = spec_dumps(spec);
    if (!text || !plan->setting[job])
        err_set(&bad, ERR_NO_MEMORY, "no memory for %d specs", plan->n);
    else if (!bad.n_fields)
        spec_parse(text, strlen(text), &plan->spec[job], &bad);
    free(text);
    json_decref(spec);
    json_decref(setting);
    if (bad.code != ERR_NONE)
        sweep_plan_blame(plan, job, &bad, err);
    return err->code == ERR_NONE || err->n_fields ? 0 : -1;
}

/* ---- errors ---- */

static int is_known(const struct err *err, const char *pointer, const char *detail)
{
    for (int i = 0; i < err->n_fields; i++)
        if (strcmp(err->fields[i].pointer, pointer) == 0 &&
            strcmp(err->fields[i].detail, detail) == 0)
            return 1;
    return 0;
}

/* "/model/tie" as "model.tie", escapes undone. */
static void field_of(const char *pointer, char *out, size_t n)
{
    size_t used = 0;
    for (const char *at = pointer + (*pointer == '/'); *at && used + 1 < n; at++) {
        const int escaped = at[0] == '~' && at[1];
        out[used++] = escaped ? (at[1] == '1' ? '/' : '~') : *at == '/' ? '.' : *at;
        at += escaped;
    }
    out[used] = '\0';
}

/* Translates a pointer into a spec ("/model/tie") to one into the sweep: the varied field
 * that contains it, else a varied field that lies within it, else the base. */
static void translate(const json_t *setting, const char *pointer, char *out, size_t n)
{
    char field[ERR_POINTER_MAX];
    const char *varied;
    json_t *value;
    field_of(pointer, field, sizeof field);
    for (char *end = field + strlen(field); end; end = strrchr(field, '.')) {
        *end = '\0';
        if (json_object_get(setting, field)) {
            pointer_of(field, out, n);
            return;
        }
    }
    field_of(pointer, field, sizeof field);
    json_object_foreach((json_t *)setting, varied, value) if (is_within(varied, field))
    {
        pointer_of(varied, out, n);
        return;
    }
    snprintf(out, n, "/base%s", pointer);
}

void sweep_plan_blame(const struct sweep_plan *plan, int job, const struct err *bad,
                      struct err *err)
{
    if (!bad->n_fields) {
        *err = *bad;
        return;
    }
    json_t *setting = plan->setting[job] ? json_loads(plan->setting[job], 0, NULL) : NULL;
    for (int i = 0; i < bad->n_fields; i++) {
        char pointer[ERR_POINTER_MAX + 8];
        const char *given = bad->fields[i].pointer, *detail = bad->fields[i].detail;
        if (strncmp(given, "/vary/", 6) == 0)
            snprintf(pointer, sizeof pointer, "%s", given);
        else
            translate(setting, given, pointer, sizeof pointer);
        if (!is_known(err, pointer, detail))
            err_field(err, pointer, "%s", detail);
    }
    json_decref(setting);
}

/* ---- equal runs ---- */

struct run {
    char hash[HASH_HEX]; /* of the fields that decide the run */
    int job;
};

static int compare_runs(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    const int order = strcmp(x->hash, y->hash);
    return order ? order : x->job - y->job;
}

/* Hashes the spec with its four seeds resolved, without its labels, its resources, which say where
 * and when a run is to happen, and record_every, which says what is kept of it. */
static int describe_run(const struct spec *spec, struct run *run)
{
    char empty[] = "";
    struct spec bare = *spec;
    bare.name = bare.notes = empty;
    bare.n_tags = 0;
    memset(&bare.resources, 0, sizeof bare.resources);
    bare.train.record_every = 1;
    bare.train.seed = 0;
    bare.train.seed_weights = (int64_t)spec_seed_weights(spec);
    bare.train.seed_data = (int64_t)spec_seed_data(spec);
    bare.train.seed_groups = (int64_t)spec_seed_groups(spec);
    char *text = spec_print(&bare);
    if (!text)
        return -1;
    hash_sha256(text, strlen(text), run->hash);
    free(text);
    return 0;
}

/* Names the field in which the two settings differ; /vary if they differ in several. */
static void blame_twins(const struct sweep_plan *plan, int a, int b, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    const char *field;
    json_t *value;
    json_t *x = json_loads(plan->setting[a], 0, NULL), *y = json_loads(plan->setting[b], 0, NULL);
    int differ = 0;
    json_object_foreach(x, field,
                        value) if (!json_equal(value, json_object_get(y, field)) && differ++ == 0)
        pointer_of(field, pointer, sizeof pointer);
    err_field(err, differ == 1 ? pointer : "/vary", "%.90s and %.90s are the same run",
              plan->setting[a], plan->setting[b]);
    json_decref(x);
    json_decref(y);
}

int sweep_plan_check_distinct(const struct sweep_plan *plan, struct err *err)
{
    struct run *runs = calloc((size_t)plan->n, sizeof *runs);
    int failed = runs ? 0 : err_set(err, ERR_NO_MEMORY, "no memory to compare %d jobs", plan->n);
    for (int j = 0; j < plan->n && !failed; j++) {
        runs[j].job = j;
        if (describe_run(plan->spec[j], &runs[j]))
            failed = err_set(err, ERR_NO_MEMORY, "no memory to compare %d jobs", plan->n);
    }
    if (!failed)
        qsort(runs, (size_t)plan->n, sizeof *runs, compare_runs);
    for (int j = 1; j < plan->n && !failed; j++)
        if (strcmp(runs[j - 1].hash, runs[j].hash) == 0)
            blame_twins(plan, runs[j - 1].job, runs[j].job, err);
    free(runs);
    return failed || err->n_fields ? -1 : 0;
}

/* ---- the plan ---- */

void sweep_plan_free(struct sweep_plan *plan)
{
    if (!plan)
        return;
    for (int i = 0; i < plan->n; i++) {
        if (plan->spec)
            spec_free(plan->spec[i]);
        if (plan->setting)
            free(plan->setting[i]);
    }
    free(plan->spec), free(plan->setting);
    free(plan->name), free(plan->base), free(plan->vary), free(plan->after);
    free(plan);
}

/* It stands beside the fields of the spec. */
static int take_after(struct sweep_plan *plan, json_t *base, struct err *err)
{
    const json_t *after = json_object_get(base, "after");
    if (after && after_json_read(after, "/base/after", &plan->after, err) && !err->n_fields)
        return -1;
    json_object_del(base, "after");
    return 0;
}

static int fill_plan(struct sweep_plan *plan, json_t *body, struct err *err)
{
    struct vary vary = {0};
    json_t *base = json_object_get(body, "base");
    if (read_vary(json_object_get(body, "vary"), &vary, err))
        return -1;
    const char *name = json_string_value(json_object_get(body, "name"));
    if (!name)
        name = json_string_value(json_object_get(base, "name"));
    const json_t *limit = json_object_get(body, "max_running");
    if (limit && sweep_plan_read_limit(limit, &plan->max_running, err))
        return -1;
    plan->n = vary.jobs;
    plan->name = strdup(name ? name : "sweep");
    plan->base = spec_dumps(base);
    plan->vary = spec_dumps(json_object_get(body, "vary"));
    plan->spec = calloc((size_t)plan->n, sizeof *plan->spec);
    plan->setting = calloc((size_t)plan->n, sizeof *plan->setting);
    if (plan->name)
        text_name_trim(plan->name);
    if (!plan->name || !plan->base || !plan->vary || !plan->spec || !plan->setting)
        return err_set(err, ERR_NO_MEMORY, "no memory for a sweep of %d jobs", plan->n);
    if (take_after(plan, base, err))
        return -1;
    for (int job = 0; job < plan->n; job++)
        if (build_spec(plan, base, &vary, job, err))
            return -1;
    return err->n_fields ? -1 : 0;
}

/* The body with every number that JSON does not allow (NaN, 1e999) as a text, so that the
 * errors can name the field that holds it; NULL if it is not JSON even so. */
static json_t *load_quoted(const char *body, size_t n)
{
    size_t n_quoted = 0;
    body = input_skip_mark(body, &n);
    char *quoted = spec_quote_numbers(body, n, &n_quoted);
    json_t *object = quoted ? json_loadb(quoted, n_quoted, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(quoted);
    return object;
}

int sweep_plan_parse(const char *body, size_t n, struct sweep_plan **out, struct err *err)
{
    struct err malformed = ERR_INIT;
    json_t *object = input_json(body, n, 0, &malformed);
    const int is_json = object != NULL;
    if (!is_json && (malformed.code != ERR_MALFORMED || !(object = load_quoted(body, n)))) {
        *err = malformed;
        return -1;
    }
    int failed = json_is_object(object) ? check_object(object, err)
                                        : err_set(err, ERR_MALFORMED, "not a JSON object");
    if (!failed && !json_object_get(object, "base"))
        failed = json_object_set_new(object, "base", json_object());
    struct sweep_plan *plan = failed ? NULL : calloc(1, sizeof *plan);
    if (!failed && !plan)
        failed = err_set(err, ERR_NO_MEMORY, "no memory for a sweep");
    if (!failed)
        failed = fill_plan(plan, object, err);
    if (!failed && !is_json) {
        *err = malformed;
        failed = -1;
    }
    json_decref(object);
    if (failed) {
        sweep_plan_free(plan);
        return -1;
    }
    *out = plan;
    return 0;
}
