/* spec: see spec.h. One table describes every field: pointer, kind (how it is read and
 * written, spec_kind.h), offset in struct spec, limits, words, and default. The default is
 * JSON text and takes the same path as a user's value. spec_parse and spec_print walk the
 * table once each; spec_diff compares the printed values.
 *
 * Invariant: rules between fields run only on fields that are good by themselves. */
#include "config/spec.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/input.h"
#include "config/pointer.h"
#include "config/spec_custom.h"
#include "config/spec_kind.h"
#include "config/spec_remedy.h"
#include "config/spec_rules.h"
#include "config/spec_words.h"

enum {
    SPEC_SECTION_MAX = 16,        /* bytes of a section's pointer */
    SPEC_SECONDS_MAX = 315360000, /* ten years */
    SPEC_ATTEMPTS_MAX = 100,
    SPEC_THREADS_MAX = 256, /* CPU_THREADS_MAX of gpu/cpu */
    SPEC_VOCABULARY_MAX =
        1 << 18, /* BPE_VOCAB_MAX of lab/bpe.h; lab/dataset checks the vocabulary of the text */
    SPEC_EXPONENT_MAX = 4, /* c^-4 of a billion tokens is still a float32 */
    SPEC_FACTOR_MIN = 1,
    SPEC_FACTOR_MAX = 1000000
};

#define SPEC_SEED_MAX 9007199254740991.0 /* 2^53 - 1: every JSON reader keeps it exact */
#define SPEC_REAL_MIN 1e-30              /* smallest positive number float32 still computes with */
#define SPEC_REAL_MAX 1e30               /* largest */
#define SPEC_BETA_MAX 0.999999           /* 1 - beta must survive in float32 */
#define SPEC_SMOOTHING_MAX 0.999         /* some weight of the target must remain */
#define SPEC_Z_LOSS_MAX 1000.0           /* the published value is 1e-4 */

static const char *const spec_pass[] = {"pass", NULL};
static const char *const spec_inv_sqrt_d[] = {"inv_sqrt_d", NULL};
static const char *const spec_devices[] = {"auto", "cpu", "cuda", NULL};

/* --- the table ------------------------------------------------------------- */

#define AT(member) offsetof(struct spec, member)

/* clang-format off */
static const struct spec_row spec_table[] = {
    {"/name", &spec_kind_text, AT(name), 1, SPEC_NAME_MAX, NULL, "\"gulliver\""},
    {"/notes", &spec_kind_text, AT(notes), 0, SPEC_NOTES_MAX, NULL, "\"\""},
    {"/tags", &spec_kind_tags, 0, 0, 0, NULL, "[]"},
    {"/init_from", &spec_remedy_job, AT(init_from), 0, 0, NULL, "null"},
    {"/corpus/id", &spec_kind_corpus, AT(corpus.id), 0, 0, NULL, "\"gulliver\""},
    {"/corpus/variant", &spec_kind_enum, AT(corpus.variant), 0, 0, spec_words_variant, "\"lf\""},
    {"/corpus/tokenizer", &spec_kind_tokenizer, AT(corpus.tokenizer), 0, 0, spec_words_tokenizer, "\"gpt2\""},
    {"/corpus/vocabulary", &spec_kind_enum, AT(corpus.vocabulary), 0, 0, spec_words_vocabulary, "\"all\""},
    {"/corpus/shuffled", &spec_kind_bool, AT(corpus.shuffled), 0, 0, NULL, "false"},
    {"/model/d_model", &spec_kind_int, AT(model.d_model), 1, SPEC_D_MODEL_MAX, NULL, "128"},
    {"/model/n_layers", &spec_kind_int, AT(model.n_layers), 1, SPEC_LAYERS_MAX, NULL, "4"},
    {"/model/n_heads", &spec_kind_int, AT(model.n_heads), 1, SPEC_HEADS_MAX, NULL, "4"},
    {"/model/seq_len", &spec_kind_int, AT(model.seq_len), 1, SPEC_SEQ_LEN_MAX, NULL, "64"},
    {"/model/tie", &spec_kind_enum, AT(model.tie), 0, 0, spec_words_tying, "\"tied\""},
    {"/model/logit_scale", &spec_kind_scale, AT(model.logit_scale), SPEC_REAL_MIN, SPEC_REAL_MAX, spec_inv_sqrt_d, "1.0"},
    {"/model/activation", &spec_kind_enum, AT(model.activation), 0, 0, spec_words_activation, "\"gelu\""},
    {"/model/head_bias", &spec_kind_bool, AT(model.head_bias), 0, 0, NULL, "false"},
    {"/model/init_std", &spec_kind_real, AT(model.init_std), 0, SPEC_REAL_MAX, NULL, "0.02"},
    {"/model/position_std", &spec_kind_real, AT(model.position_std), 0, SPEC_REAL_MAX, NULL, "0.02"},
    {"/model/head", &spec_kind_enum, AT(model.head), 0, 0, spec_words_head, "\"full\""},
    {"/model/cutoffs", &spec_remedy_cutoffs, 0, 1, SPEC_VOCABULARY_MAX, NULL, "[]"},
    {"/train/epochs", &spec_kind_int64, AT(train.epochs), 1, SPEC_EPOCHS_MAX, NULL, "500"},
    {"/train/steps_per_epoch", &spec_kind_steps, AT(train.steps_per_epoch), 1, SPEC_STEPS_PER_EPOCH_MAX, spec_pass, "1"},
    {"/train/sampling", &spec_kind_enum, AT(train.sampling), 0, 0, spec_words_sampling, "\"random\""},
    {"/train/shuffle_offset", &spec_kind_bool, AT(train.shuffle_offset), 0, 0, NULL, "true"},
    {"/train/batch_size", &spec_kind_int, AT(train.batch_size), 1, SPEC_BATCH_MAX, NULL, "8"},
    {"/train/optimizer", &spec_kind_enum, AT(train.optimizer), 0, 0, spec_words_optimizer, "\"adamw\""},
    {"/train/lr", &spec_kind_real, AT(train.lr), SPEC_REAL_MIN, SPEC_REAL_MAX, NULL, "0.001"},
    {"/train/beta1", &spec_kind_real, AT(train.beta1), 0, SPEC_BETA_MAX, NULL, "0.9"},
    {"/train/beta2", &spec_kind_real, AT(train.beta2), 0, SPEC_BETA_MAX, NULL, "0.999"},
    {"/train/eps", &spec_kind_real, AT(train.eps), SPEC_REAL_MIN, SPEC_REAL_MAX, NULL, "1e-8"},
    {"/train/weight_decay", &spec_kind_real, AT(train.weight_decay), 0, SPEC_REAL_MAX, NULL, "0.01"},
    {"/train/momentum", &spec_kind_real, AT(train.momentum), 0, SPEC_BETA_MAX, NULL, "0.9"},
    {"/train/decay_embeddings", &spec_kind_bool, AT(train.decay_embeddings), 0, 0, NULL, "true"},
    {"/train/grad_clip", &spec_kind_real, AT(train.grad_clip), 0, SPEC_REAL_MAX, NULL, "0"},
    {"/train/precision", &spec_kind_enum, AT(train.precision), 0, 0, spec_words_precision, "\"auto\""},
    {"/train/seed", &spec_kind_int64, AT(train.seed), 0, SPEC_SEED_MAX, NULL, "1"},
    {"/train/seed_weights", &spec_kind_seed, AT(train.seed_weights), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/seed_data", &spec_kind_seed, AT(train.seed_data), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/seed_groups", &spec_kind_seed, AT(train.seed_groups), 0, SPEC_SEED_MAX, NULL, "null"},
    {"/train/record_every", &spec_kind_int64, AT(train.record_every), 1, SPEC_EPOCHS_MAX, NULL, "1"},
    {"/train/snapshots", &spec_kind_snapshots, 0, 0, 0, NULL, "[]"},
    {"/loss/class_weight", &spec_kind_real, AT(loss.class_weight), 0, SPEC_EXPONENT_MAX, NULL, "0"},
    {"/loss/logit_adjustment", &spec_kind_real, AT(loss.logit_adjustment), 0, SPEC_EXPONENT_MAX, NULL, "0"},
    {"/loss/label_smoothing", &spec_kind_real, AT(loss.label_smoothing), 0, SPEC_SMOOTHING_MAX, NULL, "0"},
    {"/loss/z_loss", &spec_kind_real, AT(loss.z_loss), 0, SPEC_Z_LOSS_MAX, NULL, "0"},
    {"/data/oversample", &spec_remedy_oversample, 0, SPEC_FACTOR_MIN, SPEC_FACTOR_MAX, NULL, "null"},
    {"/data/inject", &spec_remedy_inject, 0, 1, SPEC_CUSTOM_TOKENS_MAX, NULL, "null"},
    {"/data/holdout", &spec_kind_int, AT(data.holdout), 0, SPEC_HOLDOUT_MAX, NULL, "0"},
    {"/eval/windows", &spec_kind_int, AT(eval.windows), 0, SPEC_EVAL_WINDOWS_MAX, NULL, "0"},
    {"/eval/every", &spec_kind_int64, AT(eval.every), 1, SPEC_EPOCHS_MAX, NULL, "10"},
    {"/groups/size", &spec_kind_int, AT(groups.size), 1, SPEC_GROUP_SIZE_MAX, NULL, "100"},
    {"/groups/selection", &spec_kind_enum, AT(groups.selection), 0, 0, spec_words_selection, "\"frequency\""},
    {"/groups/ties", &spec_kind_enum, AT(groups.ties), 0, 0, spec_words_tie_break, "\"seeded\""},
    {"/groups/mask", &spec_kind_enum, AT(groups.mask), 0, 0, spec_words_mask, "\"columns\""},
    {"/groups/custom", &spec_custom_kind, 0, 0, 0, NULL, "[]"},
    {"/resources/device", &spec_kind_device, AT(resources.device), 0, 0, spec_devices, "\"auto\""},
    {"/resources/priority", &spec_kind_int, AT(resources.priority), -100, 100, NULL, "0"},
    {"/resources/max_seconds", &spec_kind_int64, AT(resources.max_seconds), 0, SPEC_SECONDS_MAX, NULL, "0"},
    {"/resources/max_attempts", &spec_kind_int, AT(resources.max_attempts), 1, SPEC_ATTEMPTS_MAX, NULL, "3"},
    {"/resources/threads", &spec_kind_int, AT(resources.threads), 0, SPEC_THREADS_MAX, NULL, "0"},
};
/* clang-format on */

enum { SPEC_ROWS = sizeof spec_table / sizeof spec_table[0] };

/* --- parsing ---------------------------------------------------------------- */

struct spec_reading {
    const json_t *root; /* what was sent */
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

/* 1 if the pointer of some row equals this one, or starts with it as a section. */
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

/* Refuse every key of an object that the table does not have. */
static void spec_check_keys(struct spec_reading *reading, json_t *object, const char *base)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        pointer_member(pointer, base, key);
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

/* Say of the errors from `first` on which of them quote a value that nobody sent. */
static void spec_note_defaults(const struct spec_reading *reading, int first)
{
    struct err *err = reading->err;
    for (int i = err ? first : 0; err && i < err->n_fields; i++) {
        struct err_field *field = &err->fields[i];
        const size_t n = strlen(field->detail);
        const struct spec_row *row = NULL;
        for (int r = 0; r < SPEC_ROWS && !row; r++)
            if (strcmp(spec_table[r].pointer, field->pointer) == 0)
                row = &spec_table[r];
        if (!row || spec_value(row, reading->root))
            continue;
        snprintf(field->detail + n, sizeof field->detail - n,
                 " (the default: the field was not sent)");
        if (i == 0)
            snprintf(err->message, sizeof err->message, "%s: %s", field->pointer, field->detail);
    }
}

/* Contradictions between fields, and values that follow from others. */
static void spec_finish(struct spec_reading *reading)
{
    struct spec *spec = reading->spec;
    for (const struct spec_rule *rule = spec_rules; rule->check; rule++) {
        int good = 1;
        for (int i = 0; i < SPEC_RULE_FIELDS && rule->fields[i]; i++)
            good &= spec_is_good(reading, rule->fields[i]);
        const int known = reading->err ? reading->err->n_fields : 0;
        if (!good || !rule->check(spec, reading->err))
            continue;
        reading->n_bad++;
        spec_note_defaults(reading, known);
    }
    spec_sort_snapshots(spec);
    if (spec->model.logit_scale_inv_sqrt_d && spec->model.d_model > 0)
        spec->model.logit_scale = 1 / sqrt(spec->model.d_model);
}

static int spec_read(const json_t *root, struct spec *spec, struct err *err)
{
    struct spec_reading reading = {.root = root, .spec = spec, .err = err};
    for (int i = 0; i < SPEC_ROWS; i++)
        if (spec_read_row(&reading, i, root) && err && err->code == ERR_NO_MEMORY)
            return -1;
    spec_check_keys(&reading, (json_t *)root, "");
    spec_finish(&reading);
    return reading.n_bad ? -1 : 0;
}

/* 1 for a word that was meant as a number but is none in JSON: NaN and Infinity as other
 * languages print them, and numbers that overflow an int64 or a double. */
static int spec_is_no_number(const char *word, size_t n)
{
    static const char *const names[] = {"nan", "inf", "infinity"};
    const size_t sign = *word == '-' || *word == '+';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n - sign && strncasecmp(word + sign, names[i], n - sign) == 0)
            return 1;
    if (n == sign || !isdigit((unsigned char)word[sign]))
        return 0;
    json_error_t error;
    json_t *value = json_loadb(word, n, JSON_DECODE_ANY, &error);
    json_decref(value);
    return !value && json_error_code(&error) == json_error_numeric_overflow;
}

static size_t spec_word_bytes(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n && (isalnum((unsigned char)text[at]) || strchr("+-.", text[at])) && text[at])
        at++;
    return at;
}

char *spec_quote_numbers(const char *json, size_t n, size_t *n_quoted)
{
    char *text = malloc(2 * n + 1), *to = text;
    int in_string = 0, found = 0;
    for (size_t at = 0; text && at < n;) {
        size_t bytes = in_string ? 0 : spec_word_bytes(json + at, n - at);
        const int quoted = bytes && spec_is_no_number(json + at, bytes);
        if (json[at] == '"')
            in_string = !in_string;
        if (!bytes)
            bytes = in_string && json[at] == '\\' && at + 1 < n ? 2 : 1;
        found |= quoted;
        to += sprintf(to, "%s", quoted ? "\"" : "");
        memcpy(to, json + at, bytes);
        to += bytes;
        at += bytes;
        to += sprintf(to, "%s", quoted ? "\"" : "");
    }
    *n_quoted = text ? (size_t)(to - text) : 0;
    if (found)
        return text;
    free(text);
    return NULL;
}

/* JSON has no NaN, and its reader refuses 1e999: such a text is malformed as a whole. The
 * error names the field instead if such a number is its value. */
static void spec_name_number(const char *json, size_t n, struct err *err)
{
    size_t n_quoted = 0;
    json = input_skip_mark(json, &n);
    char *quoted = spec_quote_numbers(json, n, &n_quoted);
    json_t *root = quoted ? json_loadb(quoted, n_quoted, JSON_REJECT_DUPLICATES, NULL) : NULL;
    struct spec *spec = json_is_object(root) ? calloc(1, sizeof *spec) : NULL;
    if (spec)
        spec_read(root, spec, err);
    spec_free(spec);
    json_decref(root);
    free(quoted);
}

int spec_parse(const char *json, size_t n, struct spec **out, struct err *err)
{
    if (err)
        err_clear(err);
    if (n > SPEC_BYTES_MAX)
        return err_set(err, ERR_TOO_LARGE, "a spec of %zu bytes is above the limit of %d", n,
                       SPEC_BYTES_MAX);
    json_t *root = input_json(json, n, 0, err);
    if (!root) {
        if (err && err->code == ERR_MALFORMED)
            spec_name_number(json, n, err);
        return -1;
    }
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

/* 1 if a dotted path is this pointer. */
static int spec_is_path(const char *pointer, const char *path)
{
    const char *at = pointer + 1;
    while (*at && (*at == *path || (*at == '/' && *path == '.')))
        at++, path++;
    return !*at && !*path;
}

int spec_find(const char *name, const char **pointer, const char **fallback)
{
    int found = -1, n = 0;
    for (int i = 0; i < SPEC_ROWS; i++) {
        const int is_whole = spec_is_path(spec_table[i].pointer, name);
        if (!is_whole && strcmp(strrchr(spec_table[i].pointer, '/') + 1, name) != 0)
            continue;
        found = i;
        n = is_whole ? 1 : n + 1;
        if (is_whole)
            break;
    }
    if (n != 1)
        return -1;
    *pointer = spec_table[found].pointer;
    *fallback = spec_table[found].fallback;
    return 0;
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

/* Rows of a section are adjacent in the table, so an object stays open until a row of
 * another section comes. */
static void spec_emit_rows(const struct spec *spec, struct emit *emit)
{
    const char *section = "";
    size_t section_bytes = 0;
    emit_object(emit, NULL);
    for (int i = 0; i < SPEC_ROWS; i++) {
        const char *pointer = spec_table[i].pointer;
        const size_t n = spec_section(pointer);
        if (n != section_bytes || strncmp(pointer, section, n) != 0) {
            char name[SPEC_SECTION_MAX];
            if (section_bytes)
                emit_end(emit);
            snprintf(name, sizeof name, "%.*s", (int)n - 1, pointer + 1);
            if (n)
                emit_object(emit, name);
        }
        section = pointer;
        section_bytes = n;
        spec_table[i].kind->write(&spec_table[i], spec, emit, pointer + n + 1);
    }
    if (section_bytes)
        emit_end(emit);
    emit_end(emit);
}

/* Compact JSON of the whole spec, or of one row's value (malloc). NULL without memory. */
static char *spec_emit_text(const struct spec *spec, const struct spec_row *row)
{
    struct emit emit;
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    emit_open(&emit, out, EMIT_COMPACT);
    if (row)
        row->kind->write(row, spec, &emit, NULL);
    else
        spec_emit_rows(spec, &emit);
    int failed = ferror(out);
    failed |= fclose(out);
    if (!failed)
        return text;
    free(text);
    return NULL;
}

char *spec_print(const struct spec *spec)
{
    return spec_emit_text(spec, NULL);
}

/* 1 if a and b print the same value of a row, 0 if not, -1 without memory. */
static int spec_is_same(const struct spec_row *row, const struct spec *a, const struct spec *b)
{
    char *x = spec_emit_text(a, row), *y = spec_emit_text(b, row);
    int same = x && y ? strcmp(x, y) == 0 : -1;
    free(x);
    free(y);
    return same;
}

char *spec_diff(const struct spec *a, const struct spec *b)
{
    static const char *const labels[] = {"/name", "/notes", "/tags", NULL};
    struct emit emit;
    char *text = NULL;
    size_t n;
    int failed = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    emit_open(&emit, out, EMIT_COMPACT);
    emit_array(&emit, NULL);
    for (int i = 0; i < SPEC_ROWS; i++) {
        const struct spec_row *row = &spec_table[i];
        if (spec_word(labels, row->pointer) >= 0)
            continue;
        const int same = spec_is_same(row, a, b);
        if (same == 0)
            emit_text(&emit, NULL, row->pointer);
        failed |= same < 0;
    }
    emit_end(&emit);
    failed |= ferror(out);
    failed |= fclose(out);
    if (!failed)
        return text;
    free(text);
    return NULL;
}

/* --- small answers ------------------------------------------------------------ */

int spec_objective_is_loss(const struct spec *spec)
{
    return spec->loss.class_weight == 0 && spec->loss.logit_adjustment == 0 &&
           spec->loss.label_smoothing == 0 && spec->loss.z_loss == 0;
}

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

void spec_inject_epochs(const struct spec *spec, int64_t *from, int64_t *to)
{
    const int all = spec->data.inject.to < 0;
    *from = all ? 0 : spec->data.inject.from;
    *to = all ? spec->train.epochs : spec->data.inject.to;
}

const char *spec_mask_name(enum spec_mask mask)
{
    return spec_words_mask[mask];
}

const char *spec_precision_name(enum spec_precision precision)
{
    return spec_words_precision[precision];
}

const char *spec_variant_name(enum spec_variant variant)
{
    return spec_words_variant[variant];
}
