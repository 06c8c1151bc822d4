/* spec_kind: see spec_kind.h. First the helpers that kinds share (quoting, checks,
 * JSON text), then a reader and a writer of each kind, then the table of kinds. A reader
 * reports every bad element of its value, not only the first. */
#include "config/spec_kind.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config/input.h"
#include "config/pointer.h"
#include "config/text_name.h"

enum { SPEC_CUDA_MAX = 63 }; /* highest N in "cuda:N" */

const char *spec_quote(const json_t *value, char quoted[SPEC_QUOTE_MAX])
{
    char *text =
        json_is_real(value)
            ? spec_dumps(value) /* all its digits */
            : json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    size_t n = text ? strlen(text) : 0;
    if (n < SPEC_QUOTE_MAX)
        snprintf(quoted, SPEC_QUOTE_MAX, "%s", text ? text : "the value");
    else
        snprintf(quoted, SPEC_QUOTE_MAX, "%.*s...", SPEC_QUOTE_MAX - 4, text);
    free(text);
    return quoted;
}

static void *spec_at(const struct spec_row *row, struct spec *spec)
{
    return (char *)spec + row->offset;
}

static const void *spec_at_const(const struct spec_row *row, const struct spec *spec)
{
    return (const char *)spec + row->offset;
}

int spec_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* --- checks shared by several kinds ------------------------------------- */

int spec_check_integer(const json_t *value, double min, double max, const char *pointer,
                       int64_t *out, struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    int64_t number = 0;
    const int is_integer = input_integer(value, &number);
    const double real = json_real_value(value); /* 0 for an integer */
    if (!is_integer && !(real < min || real > max))
        return err_field(err, pointer, "%s is not an integer", spec_quote(value, quoted));
    if (!is_integer || number < (int64_t)min || number > (int64_t)max)
        return err_field(err, pointer, "%s is outside %.0f to %.0f", spec_quote(value, quoted), min,
                         max);
    *out = number;
    return 0;
}

int spec_check_real(const json_t *value, double min, double max, const char *pointer, double *out,
                    struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_number(value))
        return err_field(err, pointer, "%s is not a number", spec_quote(value, quoted));
    double number = json_number_value(value);
    if (!(number >= min && number <= max))
        return err_field(err, pointer, "%s is outside %g to %g", spec_quote(value, quoted), min,
                         max);
    *out = number == 0 ? 0 : number;
    return 0;
}

const char *spec_check_text(const json_t *value, size_t min, size_t max, const char *allowed,
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

int spec_copy(char **out, const char *text, struct err *err)
{
    *out = strdup(text);
    return *out ? 0
                : err_set(err, ERR_NO_MEMORY, "no memory for a text of %zu bytes", strlen(text));
}

int spec_check_array(const json_t *value, size_t min, size_t max, const char *pointer,
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

int spec_check_members(const json_t *object, const char *const *keys, const char *base,
                       struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    int bad = 0;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)object, key, member)
    {
        if (spec_word(keys, key) >= 0)
            continue;
        pointer_member(pointer, base, key);
        bad =
            err_field(err, pointer, "no such field (its value is %s)", spec_quote(member, quoted));
    }
    return bad;
}

/* --- values as text ---------------------------------------------------------- */

/* A real number keeps a '.' or an 'e', so that a reader that tells real numbers from
 * integers (Python, jansson) gets the kind of the field back. Exponents have no plus and no
 * leading zero: 1e-8. */
static void spec_format_real(char text[EMIT_NUMBER_BYTES], double value)
{
    emit_format(text, value);
    char *exponent = strchr(text, 'e');
    if (!exponent && !strchr(text, '.'))
        strcat(text, ".0"); /* fits: at most 17 digits and a sign */
    if (!exponent)
        return;
    char *digits = exponent + 1 + (exponent[1] == '+' || exponent[1] == '-');
    char *to = exponent + 1 + (exponent[1] == '-');
    digits += strspn(digits, "0");
    memmove(to, digits, strlen(digits) + 1);
}

void spec_emit_real(struct emit *emit, const char *key, double value)
{
    char text[EMIT_NUMBER_BYTES];
    spec_format_real(text, value);
    emit_raw(emit, key, text);
}

static int spec_dump_string(const char *text, FILE *out)
{
    struct emit emit;
    emit_open(&emit, out, EMIT_COMPACT);
    emit_text(&emit, NULL, text);
    return ferror(out);
}

static int spec_dump(const json_t *value, FILE *out);

static int spec_dump_members(const json_t *object, FILE *out)
{
    const char *key;
    json_t *value;
    int n = 0, failed = 0;
    json_object_foreach((json_t *)object, key, value)
    {
        fputs(n++ ? "," : "", out);
        failed |= spec_dump_string(key, out);
        putc(':', out);
        failed |= spec_dump(value, out);
    }
    return failed;
}

static int spec_dump_elements(const json_t *array, FILE *out)
{
    int failed = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        fputs(i ? "," : "", out);
        failed |= spec_dump(json_array_get(array, i), out);
    }
    return failed;
}

/* A recursion, not one emit writer: a tree that a user sent may be deeper than
 * EMIT_DEPTH_MAX. */
static int spec_dump(const json_t *value, FILE *out)
{
    char text[EMIT_NUMBER_BYTES];
    int failed;
    if (json_is_object(value) || json_is_array(value)) {
        putc(json_is_object(value) ? '{' : '[', out);
        failed =
            json_is_object(value) ? spec_dump_members(value, out) : spec_dump_elements(value, out);
        putc(json_is_object(value) ? '}' : ']', out);
        return failed;
    }
    if (!json_is_real(value))
        return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_COMPACT);
    spec_format_real(text, json_real_value(value));
    return fputs(text, out) < 0 ? -1 : 0;
}

char *spec_dumps(const json_t *value)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    int failed = spec_dump(value, out);
    failed |= fclose(out);
    if (!failed)
        return text;
    free(text);
    return NULL;
}

/* --- readers and writers --------------------------------------------------- */

static int read_text(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    const char *allowed = (row->max > SPEC_NAME_MAX) ? "\n\r\t" : ""; /* a name is one line */
    const char *text =
        spec_check_text(value, (size_t)row->min, (size_t)row->max, allowed, row->pointer, err);
    return text ? spec_copy(spec_at(row, spec), text, err) : -1;
}

static void write_text(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    emit_text(emit, key, *(char *const *)spec_at_const(row, spec));
}

static int read_corpus(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    const char *text = spec_check_text(value, 1, SPEC_CORPUS_MAX, "", row->pointer, err);
    if (!text || text_name_check(text, row->pointer, err))
        return -1;
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

static void write_chars(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                        const char *key)
{
    emit_text(emit, key, spec_at_const(row, spec));
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

static void write_int(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                      const char *key)
{
    emit_integer(emit, key, *(const int *)spec_at_const(row, spec));
}

static int read_int64(const struct spec_row *row, const json_t *value, struct spec *spec,
                      struct err *err)
{
    return spec_check_integer(value, row->min, row->max, row->pointer, spec_at(row, spec), err);
}

static void write_int64(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                        const char *key)
{
    emit_integer(emit, key, *(const int64_t *)spec_at_const(row, spec));
}

/* An integer, or null for "follows seed", stored as -1. */
static int read_seed(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    if (!json_is_null(value))
        return read_int64(row, value, spec, err);
    *(int64_t *)spec_at(row, spec) = -1;
    return 0;
}

static void write_seed(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    if (*(const int64_t *)spec_at_const(row, spec) < 0)
        emit_null(emit, key);
    else
        write_int64(row, spec, emit, key);
}

/* An integer, or the row's only word, stored as 0. */
static int read_steps(const struct spec_row *row, const json_t *value, struct spec *spec,
                      struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (json_is_number(value))
        return read_int64(row, value, spec, err);
    if (!json_is_string(value) || spec_word(row->words, json_string_value(value)) < 0)
        return err_field(err, row->pointer, "%s is neither an integer nor \"%s\"",
                         spec_quote(value, quoted), row->words[0]);
    *(int64_t *)spec_at(row, spec) = 0;
    return 0;
}

static void write_steps(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                        const char *key)
{
    if (*(const int64_t *)spec_at_const(row, spec) == 0)
        emit_text(emit, key, row->words[0]);
    else
        write_int64(row, spec, emit, key);
}

static int read_real(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    return spec_check_real(value, row->min, row->max, row->pointer, spec_at(row, spec), err);
}

static void write_real(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    spec_emit_real(emit, key, *(const double *)spec_at_const(row, spec));
}

/* A number, or the word for 1/sqrt(d_model), which spec_finish resolves once d_model is
 * known. */
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

static void write_scale(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                        const char *key)
{
    if (spec->model.logit_scale_inv_sqrt_d)
        emit_text(emit, key, row->words[0]);
    else
        write_real(row, spec, emit, key);
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

static void write_bool(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    emit_bool(emit, key, *(const int *)spec_at_const(row, spec));
}

/* Every enum of struct spec counts from 0 and has no negative value, so gcc stores it as an
 * unsigned int. */
static int read_enum(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    int word = spec_check_word(value, row->words, row->pointer, err);
    if (word < 0)
        return -1;
    *(unsigned *)spec_at(row, spec) = (unsigned)word;
    return 0;
}

static void write_enum(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    emit_text(emit, key, row->words[*(const unsigned *)spec_at_const(row, spec)]);
}

static int read_tags(const struct spec_row *row, const json_t *value, struct spec *spec,
                     struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_TAGS_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        pointer_index(pointer, row->pointer, i);
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

static void write_tags(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                       const char *key)
{
    (void)row;
    emit_array(emit, key);
    for (int i = 0; i < spec->n_tags; i++)
        emit_text(emit, NULL, spec->tags[i]);
    emit_end(emit);
}

/* Stored in the user's order; a rule compares them with epochs, then spec_finish sorts them. */
static int read_snapshots(const struct spec_row *row, const json_t *value, struct spec *spec,
                          struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_SNAPSHOTS_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        pointer_index(pointer, row->pointer, i);
        if (spec_check_integer(json_array_get(value, i), 0, SPEC_EPOCHS_MAX, pointer,
                               &spec->train.snapshots[i], err))
            bad = -1;
    }
    spec->train.n_snapshots = (int)json_array_size(value);
    return bad;
}

static void write_snapshots(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                            const char *key)
{
    (void)row;
    emit_array(emit, key);
    for (int i = 0; i < spec->train.n_snapshots; i++)
        emit_integer(emit, NULL, spec->train.snapshots[i]);
    emit_end(emit);
}

/* --- kinds ---------------------------------------------------------------- */

const struct spec_kind spec_kind_text = {read_text, write_text};
const struct spec_kind spec_kind_corpus = {read_corpus, write_chars};
const struct spec_kind spec_kind_tokenizer = {read_tokenizer, write_chars};
const struct spec_kind spec_kind_device = {read_device, write_chars};
const struct spec_kind spec_kind_int = {read_int, write_int};
const struct spec_kind spec_kind_int64 = {read_int64, write_int64};
const struct spec_kind spec_kind_seed = {read_seed, write_seed};
const struct spec_kind spec_kind_steps = {read_steps, write_steps};
const struct spec_kind spec_kind_real = {read_real, write_real};
const struct spec_kind spec_kind_scale = {read_scale, write_scale};
const struct spec_kind spec_kind_bool = {read_bool, write_bool};
const struct spec_kind spec_kind_enum = {read_enum, write_enum};
const struct spec_kind spec_kind_tags = {read_tags, write_tags};
const struct spec_kind spec_kind_snapshots = {read_snapshots, write_snapshots};
