/* record: see record.h. The two name tables hold one JSON pointer per number. JSON objects and
 * arrays, CSV columns and lookups derive from them, so all places agree about the name and the
 * order of a number.
 *
 * A pointer has one part ("/sd") or two ("/mean_logp/none"). Numbers with the same first part
 * print as one object at the place of the first of them, or as one array if the second part is
 * a digit.
 *
 * CSV: record_print_csv_header writes the column names, record_print_csv the cells, in the
 * order of the vector. */
#include "config/record.h"

#include <math.h>
#include <string.h>

#define CLASSES(first, name)                                                                       \
    [(first) + 0] = name "/0", [(first) + 1] = name "/1", [(first) + 2] = name "/2",               \
               [(first) + 3] = name "/3", [(first) + 4] = name "/4", [(first) + 5] = name "/5",    \
               [(first) + 6] = name "/6", [(first) + 7] = name "/7"

static const char *const record_scalar_table[RECORD_SCALARS] = {
    [RECORD_LOSS] = "/loss",
    [RECORD_LOG_Z] = "/log_z",
    [RECORD_GRAD_NORM] = "/grad_norm",
    [RECORD_TOKENS_PER_SECOND] = "/tokens_per_second",
    [RECORD_OBJECTIVE] = "/objective",
    [RECORD_H_NORM] = "/h_norm",
    [RECORD_H_L1] = "/h_l1",
    CLASSES(RECORD_LOGP_BY_COUNT, "/logp_by_count"),
    CLASSES(RECORD_TOKENS_BY_COUNT, "/tokens_by_count"),
    CLASSES(RECORD_LOGP_BY_EXPOSURE, "/logp_by_exposure"),
    CLASSES(RECORD_TOKENS_BY_EXPOSURE, "/tokens_by_exposure"),
    [RECORD_EVAL_LOSS] = "/eval/loss",
    [RECORD_EVAL_LOG_Z] = "/eval/log_z",
    CLASSES(RECORD_EVAL_LOSS_BY_COUNT, "/eval_loss_by_count"),
    CLASSES(RECORD_EVAL_N_BY_COUNT, "/eval_n_by_count"),
    [RECORD_HOLDOUT_LOSS] = "/holdout/loss",
    [RECORD_HOLDOUT_LOG_Z] = "/holdout/log_z",
    CLASSES(RECORD_HOLDOUT_LOSS_BY_COUNT, "/holdout_loss_by_count"),
    CLASSES(RECORD_HOLDOUT_N_BY_COUNT, "/holdout_n_by_count"),
    CLASSES(RECORD_EVAL_LOGP_BY_COUNT, "/eval_logp_by_count"),
    [RECORD_UNSEEN_WORD_LOSS] = "/holdout/unseen_word_loss",
    [RECORD_UNSEEN_WORD_TOKEN_LOSS] = "/holdout/unseen_word_token_loss",
    [RECORD_UNSEEN_WORDS] = "/holdout/unseen_words",
    [RECORD_UNSEEN_WORD_TOKENS] = "/holdout/unseen_word_tokens",
    [RECORD_SEEN_WORD_LOSS] = "/holdout/seen_word_loss",
    [RECORD_SEEN_WORD_TOKEN_LOSS] = "/holdout/seen_word_token_loss",
    [RECORD_SEEN_WORDS] = "/holdout/seen_words",
    [RECORD_SEEN_WORD_TOKENS] = "/holdout/seen_word_tokens",
};

static const char *const record_field_table[RECORD_FIELDS] = {
    [RECORD_MEAN_LOGP_NONE] = "/mean_logp/none",
    [RECORD_MEAN_LOGP_COLUMNS] = "/mean_logp/columns",
    [RECORD_MEAN_LOGP_WINDOWS] = "/mean_logp/windows",
    [RECORD_MEAN_LOGP_POSITIONS] = "/mean_logp/positions",
    [RECORD_N_NONE] = "/n/none",
    [RECORD_N_COLUMNS] = "/n/columns",
    [RECORD_N_WINDOWS] = "/n/windows",
    [RECORD_N_POSITIONS] = "/n/positions",
    [RECORD_KEPT_NONE] = "/tokens_kept/none",
    [RECORD_KEPT_COLUMNS] = "/tokens_kept/columns",
    [RECORD_KEPT_WINDOWS] = "/tokens_kept/windows",
    [RECORD_KEPT_POSITIONS] = "/tokens_kept/positions",
    [RECORD_SD] = "/sd",
    [RECORD_Q05] = "/quantiles/0",
    [RECORD_Q25] = "/quantiles/1",
    [RECORD_Q50] = "/quantiles/2",
    [RECORD_Q75] = "/quantiles/3",
    [RECORD_Q95] = "/quantiles/4",
    [RECORD_LN_MEAN_P] = "/ln_mean_p",
    [RECORD_MEAN_P] = "/mean_p",
    [RECORD_MASS] = "/mass",
    [RECORD_MEAN_LOGIT] = "/mean_logit",
    [RECORD_TARGET_LOSS] = "/target_loss",
    [RECORD_EXPOSURE] = "/exposure",
    [RECORD_OUTPUT_NORM] = "/output_norm",
    [RECORD_OUTPUT_SHIFT] = "/output_shift",
    [RECORD_INPUT_NORM] = "/input_norm",
    [RECORD_INPUT_SHIFT] = "/input_shift",
    [RECORD_GRAD_SOFTMAX] = "/grad/softmax",
    [RECORD_GRAD_TARGET] = "/grad/target",
    [RECORD_GRAD_ZLOSS] = "/grad/zloss",
    [RECORD_GRAD_INPUT] = "/grad/input",
    [RECORD_COS_MINUS_H] = "/cos_minus_h",
    [RECORD_COS_WITHIN] = "/cos_within",
    [RECORD_ADVANTAGE] = "/advantage",
    [RECORD_EVAL_MEAN_LOGP] = "/eval/mean_logp",
    [RECORD_EVAL_LN_MEAN_P] = "/eval/ln_mean_p",
    [RECORD_EVAL_MEAN_P] = "/eval/mean_p",
    [RECORD_EVAL_MEAN_LOGIT] = "/eval/mean_logit",
    [RECORD_EVAL_TARGET_LOSS] = "/eval/target_loss",
    [RECORD_EVAL_SD] = "/eval/sd",
    [RECORD_EVAL_Q05] = "/eval_quantiles/0",
    [RECORD_EVAL_Q25] = "/eval_quantiles/1",
    [RECORD_EVAL_Q50] = "/eval_quantiles/2",
    [RECORD_EVAL_Q75] = "/eval_quantiles/3",
    [RECORD_EVAL_Q95] = "/eval_quantiles/4",
};

int record_size(int n_groups)
{
    return RECORD_SCALARS + n_groups * RECORD_FIELDS;
}

int record_at(int group, enum record_field field)
{
    return RECORD_SCALARS + group * RECORD_FIELDS + (int)field;
}

const char *record_scalar_pointer(enum record_scalar scalar)
{
    return record_scalar_table[scalar];
}

const char *record_field_pointer(enum record_field field)
{
    return record_field_table[field];
}

static int record_index(const char *const *table, int n, const char *pointer)
{
    for (int i = 0; i < n; i++)
        if (strcmp(table[i], pointer) == 0)
            return i;
    return -1;
}

/* If the part of a JSON pointer that starts at text is the escaped form of name ("~0" for '~',
 * "~1" for '/'), the rest after it ("" or "/..."), else NULL. */
static const char *record_skip_name(const char *text, const char *name)
{
    for (; *name; name++) {
        if (*name == '~' || *name == '/') {
            if (text[0] != '~' || text[1] != (*name == '~' ? '0' : '1'))
                return NULL;
            text += 2;
        } else if (*text++ != *name) {
            return NULL;
        }
    }
    return *text == '\0' || *text == '/' ? text : NULL;
}

int record_find(const char *pointer, int n_groups, const char *const *names, struct err *err)
{
    static const char prefix[] = "/groups/";
    int scalar = record_index(record_scalar_table, RECORD_SCALARS, pointer);
    if (scalar >= 0)
        return scalar;
    if (strncmp(pointer, prefix, sizeof prefix - 1) == 0)
        for (int group = 0; group < n_groups; group++) {
            const char *rest = record_skip_name(pointer + sizeof prefix - 1, names[group]);
            int field = rest ? record_index(record_field_table, RECORD_FIELDS, rest) : -1;
            if (field >= 0)
                return record_at(group, (enum record_field)field);
        }
    return err_set(err, ERR_INVALID, "\"%.96s\" names no number of a record", pointer);
}

/* Length in bytes of the first part of a pointer with its slash. */
static size_t record_head(const char *pointer)
{
    return 1 + strcspn(pointer + 1, "/");
}

static int record_same_head(const char *pointer, const char *other, size_t head)
{
    return head == record_head(other) && memcmp(pointer, other, head) == 0;
}

/* Write the numbers that share the first part with number `first`, as one object or array. */
static void record_emit_shared(struct emit *json, const char *const *table, int n, int first,
                               const char *key, const double *values)
{
    const size_t head = record_head(table[first]);
    const char tail = table[first][head + 1];
    const int is_array = tail >= '0' && tail <= '9';
    if (is_array)
        emit_array(json, key);
    else
        emit_object(json, key);
    for (int i = first; i < n; i++)
        if (record_same_head(table[first], table[i], head))
            emit_number(json, is_array ? NULL : table[i] + head + 1, values[i]);
    emit_end(json);
}

/* Write the n numbers of a table as members of the open object. */
static void record_emit_members(struct emit *json, const char *const *table, int n,
                                const double *values)
{
    for (int i = 0; i < n; i++) {
        const size_t head = record_head(table[i]);
        char key[RECORD_NAME_MAX];
        int before = i - 1;
        while (before >= 0 && !record_same_head(table[i], table[before], head))
            before--;
        if (before >= 0) /* record_emit_shared has written it with that one */
            continue;
        snprintf(key, sizeof key, "%.*s", (int)head - 1, table[i] + 1);
        if (table[i][head])
            record_emit_shared(json, table, n, i, key, values);
        else
            emit_number(json, key, values[i]);
    }
}

void record_emit(struct emit *json, const char *job, int64_t epoch, const double *values,
                 int n_groups, const char *const *names)
{
    emit_object(json, NULL);
    if (job)
        emit_text(json, "job", job);
    emit_integer(json, "epoch", epoch);
    record_emit_members(json, record_scalar_table, RECORD_SCALARS, values);
    emit_object(json, "groups");
    for (int group = 0; group < n_groups; group++) {
        emit_object(json, names[group]);
        record_emit_members(json, record_field_table, RECORD_FIELDS, values + record_at(group, 0));
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

void record_expand(const double *old, int n_scalars, int n_fields, int n_groups, double *values)
{
    for (int i = 0; i < RECORD_SCALARS; i++)
        values[i] = i < n_scalars ? old[i] : NAN;
    for (int group = 0; group < n_groups; group++)
        for (int field = 0; field < RECORD_FIELDS; field++)
            values[record_at(group, (enum record_field)field)] =
                field < n_fields ? old[n_scalars + group * n_fields + field] : NAN;
}

static void record_print_dotted(FILE *out, const char *pointer)
{
    for (; *pointer; pointer++)
        putc(*pointer == '/' ? '.' : *pointer, out);
}

/* Print one cell of the CSV header: "groups", name and field joined by dots. It is quoted if
 * the name has a comma, a quote or a line break (RFC 4180). */
static void record_print_column(FILE *out, const char *name, const char *pointer)
{
    int quoted = strpbrk(name, ",\"\r\n") != NULL;
    fputs(quoted ? ",\"groups." : ",groups.", out);
    for (; *name; name++) {
        if (*name == '"')
            putc('"', out);
        putc(*name, out);
    }
    record_print_dotted(out, pointer);
    if (quoted)
        putc('"', out);
}

void record_print_csv_header(FILE *out, int n_groups, const char *const *names)
{
    fputs("epoch", out);
    for (int scalar = 0; scalar < RECORD_SCALARS; scalar++) {
        putc(',', out);
        record_print_dotted(out, record_scalar_table[scalar] + 1);
    }
    for (int group = 0; group < n_groups; group++)
        for (int field = 0; field < RECORD_FIELDS; field++)
            record_print_column(out, names[group], record_field_table[field]);
    fputs("\r\n", out);
}

void record_print_csv(FILE *out, int64_t epoch, const double *values, int n_groups)
{
    fprintf(out, "%lld", (long long)epoch);
    for (int i = 0; i < record_size(n_groups); i++) {
        putc(',', out);
        if (isfinite(values[i])) {
            char text[EMIT_NUMBER_BYTES];
            emit_format(text, values[i]);
            fputs(text, out);
        }
    }
    fputs("\r\n", out);
}

int record_same(const double *a, const double *b, int n_groups)
{
    for (int i = 0; i < record_size(n_groups); i++) {
        if (i == RECORD_TOKENS_PER_SECOND || (isnan(a[i]) && isnan(b[i])))
            continue;
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0)
            return 0;
    }
    return 1;
}
