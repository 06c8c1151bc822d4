/* spec: see spec.h. One table says everything about a field: its pointer, how
 * it is read and written (its kind), where it lives in struct spec, its limits,
 * its words and its default, which is JSON text and takes the same path as a
 * user's value. spec_parse walks the table once, spec_print walks it once, and
 * spec_diff compares what the table prints.
 *
 * Invariants: a value is stored only after it has been checked; an error about
 * a value quotes it as ASCII JSON, so that no message ever carries a broken
 * character; checks between fields run only on fields that are good. */
#include "config/spec.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPEC_QUOTE_MAX = 64,          /* bytes of a value that an error quotes */
    SPEC_SECTION_MAX = 16,        /* bytes of a section's pointer */
    SPEC_CUDA_MAX = 63,           /* highest N in "cuda:N" */
    SPEC_SECONDS_MAX = 315360000, /* ten years */
    SPEC_ATTEMPTS_MAX = 100
};

#define SPEC_SEED_MAX 9007199254740991.0 /* 2^53 - 1: every JSON reader keeps it exact */
#define SPEC_REAL_MIN 1e-30              /* smallest positive number float32 still computes with */
#define SPEC_REAL_MAX 1e30               /* largest */
#define SPEC_BETA_MAX 0.999999           /* 1 - beta must survive in float32 */

static const char *const spec_variants[] = {"raw", "lf", "body", NULL};
static const char *const spec_tokenizers[] = {"gpt2", NULL};
static const char *const spec_ties[] = {"tied", "untied", "untied_equal", NULL};
static const char *const spec_activations[] = {"gelu", "gelu_new", "relu", NULL};
static const char *const spec_heads[] = {"full", NULL};
static const char *const spec_samplings[] = {"random", "shuffle", NULL};
static const char *const spec_optimizers[] = {"sgd", "momentum", "adam", "adamw", NULL};
static const char *const spec_precisions[] = {"auto", "fp32", "bf16", NULL};
static const char *const spec_selections[] = {"frequency", "published-2025", "published-2026",
                                              NULL};
static const char *const spec_tie_breaks[] = {"seeded", "id", NULL};
static const char *const spec_masks[] = {"none", "columns", "windows", "positions", NULL};
static const char *const spec_group_names[] = {"most_common", "least_common", "never_used", NULL};

struct spec_row;

struct spec_kind {
    /* Check value and store it. -1 with err_field, or ERR_NO_MEMORY. */
    int (*read)(const struct spec_row *row, const json_t *value, struct spec *spec,
                struct err *err);
    /* The stored value as JSON, a new reference; NULL without memory. */
    json_t *(*write)(const struct spec_row *row, const struct spec *spec);
};

struct spec_row {
    const char *pointer;
    const struct spec_kind *kind;
    size_t offset;
    double min, max;          /* of a number, of the bytes of a text */
    const char *const *words; /* allowed words, index = enum value */
    const char *fallback;     /* default, JSON */
};

/* value as ASCII JSON, cut to fit. */
static const char *spec_quote(const json_t *value, char quoted[SPEC_QUOTE_MAX])
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    size_t n = text ? strlen(text) : 0;
    if (n < SPEC_QUOTE_MAX)
        snprintf(quoted, SPEC_QUOTE_MAX, "%s", text ? text : "the value");
    else
        snprintf(quoted, SPEC_QUOTE_MAX, "%.*s...", SPEC_QUOTE_MAX - 4, text);
    free(text);
    return quoted;
}

/* base, then '/' and key escaped as RFC 6901 says, cut between characters. */
static void spec_pointer(char pointer[ERR_POINTER_MAX], const char *base, const char *key)
{
    size_t used = strnlen(base, ERR_POINTER_MAX - 2);
    memcpy(pointer, base, used);
    pointer[used++] = '/';
    while (*key) {
        int is_special = *key == '~' || *key == '/';
        size_t bytes = 1, room = ERR_POINTER_MAX - 1 - used;
        while (((unsigned char)key[bytes] & 0xC0) == 0x80)
            bytes++;
        if (room < (is_special ? 2 : bytes))
            break;
        if (is_special) {
            pointer[used++] = '~';
            pointer[used++] = *key == '~' ? '0' : '1';
        } else {
            memcpy(pointer + used, key, bytes);
            used += bytes;
        }
        key += bytes;
    }
    pointer[used] = '\0';
}

/* base, then '/' and the index of an element. */
static void spec_pointer_index(char pointer[ERR_POINTER_MAX], const char *base, size_t index)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", index);
    spec_pointer(pointer, base, digits);
}

static void *spec_at(const struct spec_row *row, struct spec *spec)
{
    return (char *)spec + row->offset;
}

static const void *spec_at_const(const struct spec_row *row, const struct spec *spec)
{
    return (const char *)spec + row->offset;
}

static int spec_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* --- checks shared by several kinds ------------------------------------- */

/* An integer within [min, max] into *out. */
static int spec_check_integer(const json_t *value, double min, double max, const char *pointer,
                              int64_t *out, struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_integer(value))
        return err_field(err, pointer, "%s is not an integer", spec_quote(value, quoted));
    json_int_t number = json_integer_value(value);
    if (number < (json_int_t)min || number > (json_int_t)max)
        return err_field(err, pointer, "%lld is outside %.0f to %.0f", (long long)number, min, max);
    *out = number;
    return 0;
}

/* A string of min..max bytes, without control characters other than those in
 * allowed. Returns it, or NULL with err_field. */
static const char *spec_check_text(const json_t *value, size_t min, size_t max, const char *allowed,
                                   const char *pointer, struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    const char *text = json_string_value(value);
    if (!text) {
        err_field(err, pointer, "%s is not a string", spec_quote(value, quoted));
        return NULL;
    }
    size_t n = strlen(text);
    if (n < min || n > max) {
        err_field(err, pointer, "%s has %zu bytes, outside %zu to %zu", spec_quote(value, quoted),
                  n, min, max);
        return NULL;
    }
    for (const char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c) && !strchr(allowed, *c)) {
            err_field(err, pointer, "%s contains the control character 0x%02x",
                      spec_quote(value, quoted), (unsigned char)*c);
            return NULL;
        }
    return text;
}

static int spec_check_word(const json_t *value, const char *const *words, const char *pointer,
                           struct err *err)
{
    char quoted[SPEC_QUOTE_MAX], list[128] = "";
    int word = json_is_string(value) ? spec_word(words, json_string_value(value)) : -1;
    if (word >= 0)
        return word;
    for (int i = 0; words[i]; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    }
    return err_field(err, pointer, "%s is not one of: %s", spec_quote(value, quoted), list);
}

static int spec_copy(char **out, const char *text, struct err *err)
{
    *out = strdup(text);
    return *out ? 0
                : err_set(err, ERR_NO_MEMORY, "no memory for a text of %zu bytes", strlen(text));
}

/* An array of min..max elements. */
static int spec_check_array(const json_t *value, size_t min, size_t max, const char *pointer,
                            struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_array(value))
        return err_field(err, pointer, "%s is not an array", spec_quote(value, quoted));
    if (json_array_size(value) < min || json_array_size(value) > max)
        return err_field(err, pointer, "%s has %zu elements, outside %zu to %zu",
                         spec_quote(value, quoted), json_array_size(value), min, max);
    return 0;
}

/* --- kinds ---------------------------------------------------------------- */

static int read_text(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    const char *allowed = (row->max > SPEC_NAME_MAX) ? "\n\r\t" : ""; /* a name is one line */
    const char *text =
        spec_check_text(value, (size_t)row->min, (size_t)row->max, allowed, row->pointer, err);
    return text ? spec_copy(spec_at(row, spec), text, err) : -1;
}

static json_t *write_text(const struct spec_row *row, const struct spec *spec)
{
    return json_string(*(char *const *)spec_at_const(row, spec));
}

/* A corpus name becomes part of a path, so it can neither leave its folder nor hide in it. */
static int read_corpus(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    const char *text = spec_check_text(value, 1, SPEC_CORPUS_MAX, "", row->pointer, err);
    if (!text)
        return -1;
    if (text[0] == '.' || strchr(text, '/'))
        return err_field(err, row->pointer, "%s is not a name: it starts with '.' or contains '/'",
                         spec_quote(value, quoted));
    snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", text);
    return 0;
}

static int read_tokenizer(const struct spec_row *row, const json_t *value, struct spec *spec,
                          struct err *err)
{
    int word = spec_check_word(value, row->words, row->pointer, err);
    if (word < 0)
        return -1;
    snprintf(spec->corpus.tokenizer, sizeof spec->corpus.tokenizer, "%s", row->words[word]);
    return 0;
}

static int read_device(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    char quoted[SPEC_QUOTE_MAX], number[8];
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    int good = spec_word(row->words, text) >= 0;
    if (!good && strncmp(text, "cuda:", 5) == 0) {
        long n = strtol(text + 5, NULL, 10);
        snprintf(number, sizeof number, "%ld", n);
        good = n >= 0 && n <= SPEC_CUDA_MAX && strcmp(number, text + 5) == 0;
    }
    if (!good)
        return err_field(err, row->pointer, "%s is not auto, cpu, cuda or cuda:0 to cuda:%d",
                         spec_quote(value, quoted), SPEC_CUDA_MAX);
    snprintf(spec->resources.device, sizeof spec->resources.device, "%s", text);
    return 0;
}

static json_t *write_chars(const struct spec_row *row, const struct spec *spec)
{
    return json_string(spec_at_const(row, spec));
}

static int read_int(const struct spec_row *row, const json_t *value, struct spec *spec,
                    struct err *err)
{
    int64_t number = 0;
    if (spec_check_integer(value, row->min, row->max, row->pointer, &number, err))
        return -1;
    *(int *)spec_at(row, spec) = (int)number;
    return 0;
}

static json_t *write_int(const struct spec_row *row, const struct spec *spec)
{
    return json_integer(*(const int *)spec_at_const(row, spec));
}

static int read_int64(const struct spec_row *row, const json_t *value, struct spec *spec,
                      struct err *err)
{
    return spec_check_integer(value, row->min, row->max, row->pointer, spec_at(row, spec), err);
}

static json_t *write_int64(const struct spec_row *row, const struct spec *spec)
{
    return json_integer(*(const int64_t *)spec_at_const(row, spec));
}

/* An integer, or null for "follows seed", kept as -1. */
static int read_seed(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    if (!json_is_null(value))
        return read_int64(row, value, spec, err);
    *(int64_t *)spec_at(row, spec) = -1;
    return 0;
}

static json_t *write_seed(const struct spec_row *row, const struct spec *spec)
{
    int64_t seed = *(const int64_t *)spec_at_const(row, spec);
    return seed < 0 ? json_null() : json_integer(seed);
}

/* An integer, or the one word of the row, kept as 0. */
static int read_steps(const struct spec_row *row, const json_t *value, struct spec *spec,
                      struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (json_is_integer(value))
        return read_int64(row, value, spec, err);
    if (!json_is_string(value) || spec_word(row->words, json_string_value(value)) < 0)
        return err_field(err, row->pointer, "%s is neither an integer nor \"%s\"",
                         spec_quote(value, quoted), row->words[0]);
    *(int64_t *)spec_at(row, spec) = 0;
    return 0;
}

static json_t *write_steps(const struct spec_row *row, const struct spec *spec)
{
    int64_t steps = *(const int64_t *)spec_at_const(row, spec);
    return steps == 0 ? json_string(row->words[0]) : json_integer(steps);
}

static int read_real(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_number(value))
        return err_field(err, row->pointer, "%s is not a number", spec_quote(value, quoted));
    double number = json_number_value(value);
    if (!(number >= row->min && number <= row->max))
        return err_field(err, row->pointer, "%s is outside %g to %g", spec_quote(value, quoted),
                         row->min, row->max);
    *(double *)spec_at(row, spec) = number == 0 ? 0 : number; /* -0 is 0 */
    return 0;
}

static json_t *write_real(const struct spec_row *row, const struct spec *spec)
{
    return json_real(*(const double *)spec_at_const(row, spec));
}

/* A number, or the word for 1/sqrt(d_model), which is resolved when d_model is known. */
static int read_scale(const struct spec_row *row, const json_t *value, struct spec *spec,
                      struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (json_is_number(value))
        return read_real(row, value, spec, err);
    if (!json_is_string(value) || spec_word(row->words, json_string_value(value)) < 0)
        return err_field(err, row->pointer, "%s is neither a number nor \"%s\"",
                         spec_quote(value, quoted), row->words[0]);
    spec->model.logit_scale_inv_sqrt_d = 1;
    return 0;
}

static json_t *write_scale(const struct spec_row *row, const struct spec *spec)
{
    return spec->model.logit_scale_inv_sqrt_d ? json_string(row->words[0]) : write_real(row, spec);
}

static int read_bool(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_boolean(value))
        return err_field(err, row->pointer, "%s is neither true nor false",
                         spec_quote(value, quoted));
    *(int *)spec_at(row, spec) = json_is_true(value);
    return 0;
}

static json_t *write_bool(const struct spec_row *row, const struct spec *spec)
{
    return json_boolean(*(const int *)spec_at_const(row, spec));
}

/* All enums of struct spec count from 0 without negative values, so gcc stores
 * each as an unsigned int. */
static int read_enum(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    int word = spec_check_word(value, row->words, row->pointer, err);
    if (word < 0)
        return -1;
    *(unsigned *)spec_at(row, spec) = (unsigned)word;
    return 0;
}

static json_t *write_enum(const struct spec_row *row, const struct spec *spec)
{
    return json_string(row->words[*(const unsigned *)spec_at_const(row, spec)]);
}

/* A field with one possible value: checked, printed, not stored. */
static int read_constant(const struct spec_row *row, const json_t *value, struct spec *spec,
                         struct err *err)
{
    (void)spec;
    return spec_check_word(value, row->words, row->pointer, err) < 0 ? -1 : 0;
}

static json_t *write_constant(const struct spec_row *row, const struct spec *spec)
{
    (void)spec;
    return json_string(row->words[0]);
}

static int read_tags(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_TAGS_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        spec_pointer_index(pointer, row->pointer, i);
        const char *tag =
            spec_check_text(json_array_get(value, i), 1, SPEC_TAG_MAX, "", pointer, err);
        int twice = 0;
        for (int j = 0; tag && j < spec->n_tags; j++)
            twice |= strcmp(spec->tags[j], tag) == 0;
        if (twice)
            err_field(err, pointer, "\"%s\" is there twice", tag);
        if (!tag || twice) {
            bad = -1;
            continue;
        }
        if (spec_copy(&spec->tags[spec->n_tags], tag, err))
            return -1;
        spec->n_tags++;
    }
    return bad;
}

static json_t *write_tags(const struct spec_row *row, const struct spec *spec)
{
    (void)row;
    json_t *array = json_array();
    for (int i = 0; array && i < spec->n_tags; i++)
        if (json_array_append_new(array, json_string(spec->tags[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* In the user's order; spec_finish compares them with epochs and sorts them. */
static int read_snapshots(const struct spec_row *row, const json_t *value, struct spec *spec,
                          struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_SNAPSHOTS_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        spec_pointer_index(pointer, row->pointer, i);
        if (spec_check_integer(json_array_get(value, i), 0, SPEC_EPOCHS_MAX, pointer,
                               &spec->train.snapshots[i], err))
            bad = -1;
    }
    spec->train.n_snapshots = (int)json_array_size(value);
    return bad;
}

static json_t *write_snapshots(const struct spec_row *row, const struct spec *spec)
{
    (void)row;
    json_t *array = json_array();
    for (int i = 0; array && i < spec->train.n_snapshots; i++)
        if (json_array_append_new(array, json_integer(spec->train.snapshots[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static int read_token(const json_t *value, const char *pointer, struct spec_token *token,
                      struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    int64_t id = 0;
    if (json_is_integer(value)) {
        if (spec_check_integer(value, 0, INT32_MAX, pointer, &id, err))
            return -1;
        token->id = (int32_t)id;
        return 0;
    }
    if (!json_is_string(value))
        return err_field(err, pointer, "%s is neither a token id nor a text",
                         spec_quote(value, quoted));
    size_t n = json_string_length(value);
    if (n < 1 || n > SPEC_TOKEN_BYTES_MAX)
        return err_field(err, pointer, "%s has %zu bytes, outside 1 to %d",
                         spec_quote(value, quoted), n, SPEC_TOKEN_BYTES_MAX);
    token->id = -1;
    return spec_copy(&token->text, json_string_value(value), err);
}

static int read_custom_tokens(const json_t *value, const char *base, struct spec_custom *custom,
                              struct err *err)
{
    char list[ERR_POINTER_MAX], pointer[ERR_POINTER_MAX];
    int bad = 0;
    spec_pointer(list, base, "tokens");
    if (!value)
        return err_field(err, list, "a custom group needs its tokens");
    if (spec_check_array(value, 1, SPEC_CUSTOM_TOKENS_MAX, list, err))
        return -1;
    size_t n = json_array_size(value);
    custom->tokens = calloc(n, sizeof *custom->tokens);
    if (!custom->tokens)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        spec_pointer_index(pointer, list, i);
        custom->n_tokens++;
        if (read_token(json_array_get(value, i), pointer, &custom->tokens[i], err))
            bad = -1;
        if (err && err->code == ERR_NO_MEMORY)
            return -1;
    }
    return bad;
}

static int read_custom_name(const json_t *value, const char *base, const struct spec *spec,
                            struct spec_custom *custom, struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    spec_pointer(pointer, base, "name");
    if (!value)
        return err_field(err, pointer, "a custom group needs a name");
    const char *name = spec_check_text(value, 1, RECORD_NAME_MAX - 1, "", pointer, err);
    if (!name)
        return -1;
    int taken = spec_word(spec_group_names, name) >= 0;
    for (const struct spec_custom *other = spec->groups.custom; other < custom; other++)
        taken |= strcmp(other->name, name) == 0;
    if (taken)
        return err_field(err, pointer, "%s names another group already", spec_quote(value, quoted));
    snprintf(custom->name, sizeof custom->name, "%s", name);
    return 0;
}

static int read_custom_group(const json_t *value, const char *base, struct spec *spec,
                             struct err *err)
{
    static const char *const keys[] = {"name", "tokens", NULL};
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    struct spec_custom *custom = &spec->groups.custom[spec->groups.n_custom++];
    if (!json_is_object(value))
        return err_field(err, base, "%s is not an object", spec_quote(value, quoted));
    int bad = read_custom_name(json_object_get(value, "name"), base, spec, custom, err);
    if (read_custom_tokens(json_object_get(value, "tokens"), base, custom, err))
        bad = -1;
    if (err && err->code == ERR_NO_MEMORY)
        return -1;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)value, key, member)
    {
        if (spec_word(keys, key) >= 0)
            continue;
        spec_pointer(pointer, base, key);
        bad =
            err_field(err, pointer, "no such field (its value is %s)", spec_quote(member, quoted));
    }
    return bad;
}

static int read_custom(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_CUSTOM_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        spec_pointer_index(pointer, row->pointer, i);
        if (read_custom_group(json_array_get(value, i), pointer, spec, err))
            bad = -1;
        if (err && err->code == ERR_NO_MEMORY)
            return -1;
    }
    return bad;
}

static json_t *write_custom_group(const struct spec_custom *custom)
{
    json_t *tokens = json_array();
    for (int i = 0; tokens && i < custom->n_tokens; i++) {
        const struct spec_token *token = &custom->tokens[i];
        if (json_array_append_new(tokens, token->text ? json_string(token->text)
                                                      : json_integer(token->id))) {
            json_decref(tokens);
            return NULL;
        }
    }
    return tokens ? json_pack("{s:s, s:o}", "name", custom->name, "tokens", tokens) : NULL;
}

static json_t *write_custom(const struct spec_row *row, const struct spec *spec)
{
    (void)row;
    json_t *array = json_array();
    for (int i = 0; array && i < spec->groups.n_custom; i++)
        if (json_array_append_new(array, write_custom_group(&spec->groups.custom[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* --- the table ------------------------------------------------------------- */

static const struct spec_kind kind_text = {read_text, write_text};
static const struct spec_kind kind_corpus = {read_corpus, write_chars};
static const struct spec_kind kind_tokenizer = {read_tokenizer, write_chars};
static const struct spec_kind kind_device = {read_device, write_chars};
static const struct spec_kind kind_int = {read_int, write_int};
static const struct spec_kind kind_int64 = {read_int64, write_int64};
static const struct spec_kind kind_seed = {read_seed, write_seed};
static const struct spec_kind kind_steps = {read_steps, write_steps};
static const struct spec_kind kind_real = {read_real, write_real};
static const struct spec_kind kind_scale = {read_scale, write_scale};
static const struct spec_kind kind_bool = {read_bool, write_bool};
static const struct spec_kind kind_enum = {read_enum, write_enum};
static const struct spec_kind kind_constant = {read_constant, write_constant};
static const struct spec_kind kind_tags = {read_tags, write_tags};
static const struct spec_kind kind_snapshots = {read_snapshots, write_snapshots};
static const struct spec_kind kind_custom = {read_custom, write_custom};

static const char *const spec_pass[] = {"pass", NULL};
static const char *const spec_inv_sqrt_d[] = {"inv_sqrt_d", NULL};
static const char *const spec_devices[] = {"auto", "cpu", "cuda", NULL};

#define AT(member) offsetof(struct spec, member)

/* clang-format off */
static const struct spec_row spec_table[] = {
    {"/name", &kind_text, AT(name), 1, SPEC_NAME_MAX, NULL, "\"gulliver\""},
    {"/notes", &kind_text, AT(notes), 0, SPEC_NOTES_MAX, NULL, "\"\""},
    {"/tags", &kind_tags, 0, 0, 0, NULL, "[]"},
    {"/corpus/id", &kind_corpus, AT(corpus.id), 0, 0, NULL, "\"gulliver\""},
    {"/corpus/variant", &kind_enum, AT(corpus.variant), 0, 0, spec_variants, "\"lf\""},
    {"/corpus/tokenizer", &kind_tokenizer, AT(corpus.tokenizer), 0, 0, spec_tokenizers, "\"gpt2\""},
    {"/corpus/shuffled", &kind_bool, AT(corpus.shuffled), 0, 0, NULL, "false"},
    {"/model/d_model", &kind_int, AT(model.d_model), 1, SPEC_D_MODEL_MAX, NULL, "128"},
    {"/model/n_layers", &kind_int, AT(model.n_layers), 1, SPEC_LAYERS_MAX, NULL, "4"},
    {"/model/n_heads", &kind_int, AT(model.n_heads), 1, SPEC_HEADS_MAX, NULL, "4"},
    {"/model/seq_len", &kind_int, AT(model.seq_len), 1, SPEC_SEQ_LEN_MAX, NULL, "64"},
    {"/model/tie", &kind_enum, AT(model.tie), 0, 0, spec_ties, "\"tied\""},
    {"/model/logit_scale", &kind_scale, AT(model.logit_scale), SPEC_REAL_MIN, SPEC_REAL_MAX, spec_inv_sqrt_d, "1.0"},
    {"/model/activation", &kind_enum, AT(model.activation), 0, 0, spec_activations, "\"gelu\""},
    {"/model/head_bias", &kind_bool, AT(model.head_bias), 0, 0, NULL, "false"},
    {"/model/init_std", &kind_real, AT(model.init_std), 0, SPEC_REAL_MAX, NULL, "0.02"},
    {"/model/position_std", &kind_real, AT(model.position_std), 0, SPEC_REAL_MAX, NULL, "0.02"},
    {"/model/head", &kind_constant, 0, 0, 0, spec_heads, "\"full\""},
    {"/train/epochs", &kind_int64, AT(train.epochs), 1, SPEC_EPOCHS_MAX, NULL, "500"},
    {"/train/steps_per_epoch", &kind_steps, AT(train.steps_per_epoch), 1, SPEC_STEPS_PER_EPOCH_MAX, spec_pass, "1"},
    {"/train/sampling", &kind_enum, AT(train.sampling), 0, 0, spec_samplings, "\"random\""},
    {"/train/batch_size", &kind_int, AT(train.batch_size), 1, SPEC_BATCH_MAX, NULL, "8"},
    {"/train/optimizer", &kind_enum, AT(train.optimizer), 0, 0, spec_optimizers, "\"adamw\""},
    {"/train/lr", &kind_real, AT(train.lr), SPEC_REAL_MIN, SPEC_REAL_MAX, NULL, "0.001"},
    {"/train/beta1", &kind_real, AT(train.beta1), 0, SPEC_BETA_MAX, NULL, "0.9"},
    {"/train/beta2", &kind_real, AT(train.beta2), 0, SPEC_BETA_MAX, NULL, "0.999"},
    {"/train/eps", &kind_real, AT(train.eps), SPEC_REAL_MIN, SPEC_REAL_MAX, NULL, "1e-8"},
    {"/train/weight_decay", &kind_real, AT(train.weight_decay), 0, SPEC_REAL_MAX, NULL, "0.01"},
    {"/train/momentum", &kind_real, AT(train.momentum), 0, SPEC_BETA_MAX, NULL, "0.9"},
    {"/train/decay_embeddings", &kind_bool, AT(train.decay_embeddings), 0, 0, NULL, "true"},
    {"/train/grad_clip", &kind_real, AT(train.grad_clip), 0, SPEC_REAL_MAX, NULL, "0"},
    {"/train/precision", &kind_enum, AT(train.precision), 0, 0, spec_precisions, "\"auto\""},
    {"/train/seed", &kind_int64, AT(train.seed), 0, SPEC_SEED_MAX, NULL, "1"},
    {"/train/seed_weights", &kind_seed, AT(train.seed_weights), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/seed_data", &kind_seed, AT(train.seed_data), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/seed_groups", &kind_seed, AT(train.seed_groups), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/snapshots", &kind_snapshots, 0, 0, 0, NULL, "[]"},
    {"/groups/size", &kind_int, AT(groups.size), 1, SPEC_GROUP_SIZE_MAX, NULL, "100"},
    {"/groups/selection", &kind_enum, AT(groups.selection), 0, 0, spec_selections, "\"frequency\""},
    {"/groups/ties", &kind_enum, AT(groups.ties), 0, 0, spec_tie_breaks, "\"seeded\""},
    {"/groups/mask", &kind_enum, AT(groups.mask), 0, 0, spec_masks, "\"columns\""},
    {"/groups/custom", &kind_custom, 0, 0, 0, NULL, "[]"},
    {"/resources/device", &kind_device, AT(resources.device), 0, 0, spec_devices, "\"auto\""},
    {"/resources/priority", &kind_int, AT(resources.priority), -100, 100, NULL, "0"},
    {"/resources/max_seconds", &kind_int64, AT(resources.max_seconds), 0, SPEC_SECONDS_MAX, NULL, "0"},
    {"/resources/max_attempts", &kind_int, AT(resources.max_attempts), 1, SPEC_ATTEMPTS_MAX, NULL, "3"},
};
/* clang-format on */

enum { SPEC_ROWS = sizeof spec_table / sizeof spec_table[0] };

/* --- parsing ---------------------------------------------------------------- */

struct spec_reading {
    struct spec *spec;
    struct err *err;
    int bad[SPEC_ROWS]; /* rows whose value was refused */
    int n_bad;          /* refusals of any kind */
};

static int spec_is_good(const struct spec_reading *reading, const char *pointer)
{
    for (int i = 0; i < SPEC_ROWS; i++)
        if (strcmp(spec_table[i].pointer, pointer) == 0)
            return !reading->bad[i];
    return 0;
}

/* Bytes of the section in a row's pointer: "/model/d_model" has 6, "/name" 0. */
static size_t spec_section(const char *pointer)
{
    return (size_t)(strrchr(pointer, '/') - pointer);
}

/* The user's value of a row, or NULL. Sections that are no objects have none. */
static const json_t *spec_value(const struct spec_row *row, const json_t *root)
{
    char section[SPEC_SECTION_MAX];
    size_t n = spec_section(row->pointer);
    if (n) {
        snprintf(section, sizeof section, "%.*s", (int)n - 1, row->pointer + 1);
        root = json_object_get(root, section);
    }
    return json_object_get(root, row->pointer + n + 1);
}

static int spec_read_row(struct spec_reading *reading, int i, const json_t *root)
{
    const struct spec_row *row = &spec_table[i];
    const json_t *value = spec_value(row, root);
    json_t *fallback = NULL;
    if (!value) {
        value = fallback = json_loads(row->fallback, JSON_DECODE_ANY, NULL);
        if (!fallback)
            return err_set(reading->err, ERR_NO_MEMORY, "no memory for a job's spec");
    }
    int result = row->kind->read(row, value, reading->spec, reading->err);
    json_decref(fallback);
    reading->bad[i] = result != 0;
    reading->n_bad += result != 0;
    return result;
}

/* 1 if some row's pointer is, or starts with, this one. */
static int spec_known(const char *pointer, int as_section)
{
    size_t n = strlen(pointer);
    for (int i = 0; i < SPEC_ROWS; i++)
        if (as_section
                ? strncmp(spec_table[i].pointer, pointer, n) == 0 && spec_table[i].pointer[n] == '/'
                : strcmp(spec_table[i].pointer, pointer) == 0)
            return 1;
    return 0;
}

/* Refuse every key of object that the table does not know. */
static void spec_check_keys(struct spec_reading *reading, json_t *object, const char *base)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        spec_pointer(pointer, base, key);
        int is_section = !base[0] && spec_known(pointer, 1);
        if (is_section && json_is_object(value)) {
            spec_check_keys(reading, value, pointer);
        } else if (is_section) {
            err_field(reading->err, pointer, "%s is not an object", spec_quote(value, quoted));
            reading->n_bad++;
        } else if (!spec_known(pointer, 0)) {
            err_field(reading->err, pointer, "no such field (its value is %s)",
                      spec_quote(value, quoted));
            reading->n_bad++;
        }
    }
}

static int spec_compare_epochs(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void spec_sort_snapshots(struct spec *spec)
{
    int64_t *snapshots = spec->train.snapshots;
    int kept = 0;
    qsort(snapshots, (size_t)spec->train.n_snapshots, sizeof *snapshots, spec_compare_epochs);
    for (int i = 0; i < spec->train.n_snapshots; i++)
        if (kept == 0 || snapshots[kept - 1] != snapshots[i])
            snapshots[kept++] = snapshots[i];
    spec->train.n_snapshots = kept;
}

/* Contradictions between fields, and values that follow from others. */
static void spec_finish(struct spec_reading *reading)
{
    struct spec *spec = reading->spec;
    struct err *err = reading->err;
    int d_model = spec->model.d_model, n_heads = spec->model.n_heads;
    if (spec_is_good(reading, "/model/d_model") && spec_is_good(reading, "/model/n_heads") &&
        d_model % n_heads != 0) {
        err_field(err, "/model/d_model", "%d is not divisible by n_heads %d", d_model, n_heads);
        reading->n_bad++;
    }
    if (spec_is_good(reading, "/train/batch_size") && spec_is_good(reading, "/model/seq_len") &&
        (int64_t)spec->train.batch_size * spec->model.seq_len > SPEC_POSITIONS_MAX) {
        err_field(err, "/train/batch_size", "%d times seq_len %d is above %d positions",
                  spec->train.batch_size, spec->model.seq_len, SPEC_POSITIONS_MAX);
        reading->n_bad++;
    }
    if (spec_is_good(reading, "/train/epochs") && spec_is_good(reading, "/train/snapshots"))
        for (int i = 0; i < spec->train.n_snapshots; i++)
            if (spec->train.snapshots[i] > spec->train.epochs) {
                char pointer[ERR_POINTER_MAX];
                spec_pointer_index(pointer, "/train/snapshots", (size_t)i);
                err_field(err, pointer, "%lld is after the last epoch %lld",
                          (long long)spec->train.snapshots[i], (long long)spec->train.epochs);
                reading->n_bad++;
            }
    spec_sort_snapshots(spec);
    if (spec->model.logit_scale_inv_sqrt_d && d_model > 0)
        spec->model.logit_scale = 1 / sqrt(d_model);
}

static int spec_read(const json_t *root, struct spec *spec, struct err *err)
{
    struct spec_reading reading = {.spec = spec, .err = err};
    for (int i = 0; i < SPEC_ROWS; i++)
        if (spec_read_row(&reading, i, root) && err && err->code == ERR_NO_MEMORY)
            return -1;
    spec_check_keys(&reading, (json_t *)root, "");
    spec_finish(&reading);
    return reading.n_bad ? -1 : 0;
}

/* The parser's own sentence, with every byte that is not ASCII replaced: it may
 * have been cut inside a character. */
static int spec_malformed(const json_error_t *error, struct err *err)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    if (!error->text[0]) /* jansson sets no text when memory is short */
        return err_set(err, ERR_NO_MEMORY, "no memory to parse JSON");
    snprintf(text, sizeof text, "%s", error->text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    return err_set(err, ERR_MALFORMED, "JSON, line %d, column %d: %s", error->line, error->column,
                   text);
}

int spec_parse(const char *json, size_t n, struct spec **out, struct err *err)
{
    json_error_t error;
    if (err)
        err_clear(err);
    if (n > SPEC_BYTES_MAX)
        return err_set(err, ERR_TOO_LARGE, "a spec of %zu bytes is above the limit of %d", n,
                       SPEC_BYTES_MAX);
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root)
        return spec_malformed(&error, err);
    int result = -1;
    struct spec *spec = calloc(1, sizeof *spec);
    if (!json_is_object(root))
        err_set(err, ERR_MALFORMED, "a spec is a JSON object");
    else if (!spec)
        err_set(err, ERR_NO_MEMORY, "no memory for a job's spec");
    else
        result = spec_read(root, spec, err);
    json_decref(root);
    if (result == 0)
        *out = spec;
    else
        spec_free(spec);
    return result;
}

struct spec *spec_default(void)
{
    struct spec *spec = NULL;
    return spec_parse("{}", 2, &spec, NULL) == 0 ? spec : NULL;
}

void spec_free(struct spec *spec)
{
    if (!spec)
        return;
    free(spec->name);
    free(spec->notes);
    for (int i = 0; i < spec->n_tags; i++)
        free(spec->tags[i]);
    for (int i = 0; i < spec->groups.n_custom; i++) {
        for (int j = 0; j < spec->groups.custom[i].n_tokens; j++)
            free(spec->groups.custom[i].tokens[j].text);
        free(spec->groups.custom[i].tokens);
    }
    free(spec);
}

/* --- printing ---------------------------------------------------------------- */

/* Real numbers with as few digits as read back to the same bits. */
static int spec_dump(const json_t *value, FILE *out)
{
    size_t digits = 15;
    char text[32];
    if (json_is_real(value))
        for (; digits < 17; digits++) {
            snprintf(text, sizeof text, "%.*g", (int)digits, json_real_value(value));
            if (strtod(text, NULL) == json_real_value(value))
                break;
        }
    return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits));
}

static int spec_print_rows(const struct spec *spec, FILE *out)
{
    const char *section = "";
    size_t section_bytes = 0;
    for (int i = 0; i < SPEC_ROWS; i++) {
        const char *pointer = spec_table[i].pointer;
        size_t n = spec_section(pointer);
        int entered = n != section_bytes || strncmp(pointer, section, n) != 0;
        if (entered && section_bytes)
            putc('}', out);
        fputs(i ? "," : "{", out);
        if (entered && n)
            fprintf(out, "\"%.*s\":{", (int)n - 1, pointer + 1);
        section = pointer;
        section_bytes = n;
        fprintf(out, "\"%s\":", pointer + n + 1);
        json_t *value = spec_table[i].kind->write(&spec_table[i], spec);
        int failed = !value || spec_dump(value, out);
        json_decref(value);
        if (failed)
            return -1;
    }
    fputs(section_bytes ? "}}" : "}", out);
    return 0;
}

char *spec_print(const struct spec *spec)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    int failed = spec_print_rows(spec, out);
    failed |= ferror(out);
    failed |= fclose(out);
    if (!failed)
        return text;
    free(text);
    return NULL;
}

char *spec_diff(const struct spec *a, const struct spec *b)
{
    static const char *const labels[] = {"/name", "/notes", "/tags", NULL};
    char *text = NULL;
    json_t *array = json_array();
    for (int i = 0; i < SPEC_ROWS; i++) {
        const struct spec_row *row = &spec_table[i];
        if (spec_word(labels, row->pointer) >= 0)
            continue;
        json_t *x = row->kind->write(row, a), *y = row->kind->write(row, b);
        int failed = !array || !x || !y ||
                     (!json_equal(x, y) && json_array_append_new(array, json_string(row->pointer)));
        json_decref(x);
        json_decref(y);
        if (failed)
            goto out;
    }
    text = json_dumps(array, JSON_COMPACT);
out:
    json_decref(array);
    return text;
}

/* --- small answers ------------------------------------------------------------ */

static uint64_t spec_seed(const struct spec *spec, int64_t own)
{
    return (uint64_t)(own < 0 ? spec->train.seed : own);
}

uint64_t spec_seed_weights(const struct spec *spec)
{
    return spec_seed(spec, spec->train.seed_weights);
}

uint64_t spec_seed_data(const struct spec *spec)
{
    return spec_seed(spec, spec->train.seed_data);
}

uint64_t spec_seed_groups(const struct spec *spec)
{
    return spec_seed(spec, spec->train.seed_groups);
}

const char *spec_mask_name(enum spec_mask mask)
{
    return spec_masks[mask];
}

const char *spec_precision_name(enum spec_precision precision)
{
    return spec_precisions[precision];
}

const char *spec_variant_name(enum spec_variant variant)
{
    return spec_variants[variant];
}
