/* spec_remedy: see spec_remedy.h. */
#include "config/spec_remedy.h"

#include <string.h>

#include "config/pointer.h"

/* --- a job ------------------------------------------------------------------ */

/* 8-4-4-4-12 hexadecimal digits in lower case, as RFC 9562 prints them. */
static int is_job_id(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    _Static_assert(sizeof form == SPEC_JOB_ID_MAX + 1, "a UUID has 36 characters");
    if (strlen(text) != SPEC_JOB_ID_MAX)
        return 0;
    for (int i = 0; i < SPEC_JOB_ID_MAX; i++)
        if (form[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
            return 0;
    return 1;
}

static int read_job(const struct spec_row *row, const json_t *value, struct spec *spec,
                    struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (json_is_null(value))
        return 0;
    if (!json_is_string(value) || !is_job_id(json_string_value(value)))
        return err_field(err, row->pointer, "%s is neither a job's id nor null",
                         spec_quote(value, quoted));
    memcpy(spec->init_from, json_string_value(value), sizeof spec->init_from);
    return 0;
}

static void write_job(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                      const char *key)
{
    (void)row;
    emit_text(emit, key, spec->init_from[0] ? spec->init_from : NULL);
}

/* --- lists of ascending integers ---------------------------------------------- */

static int read_ascending(const json_t *value, size_t least, size_t most, double min, double max,
                          const char *base, int *out, int *n, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, least, most, base, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        int64_t number = 0;
        pointer_index(pointer, base, i);
        if (spec_check_integer(json_array_get(value, i), min, max, pointer, &number, err))
            bad = -1;
        else if (i && !bad && number <= out[i - 1])
            bad = err_field(err, pointer, "%lld is not above %d, the one before it",
                            (long long)number, out[i - 1]);
        out[i] = (int)number;
    }
    *n = (int)json_array_size(value);
    return bad;
}

static void write_list(const int *numbers, int n, struct emit *emit, const char *key)
{
    emit_array(emit, key);
    for (int i = 0; i < n; i++)
        emit_integer(emit, NULL, numbers[i]);
    emit_end(emit);
}

static int read_cutoffs(const struct spec_row *row, const json_t *value, struct spec *spec,
                        struct err *err)
{
    return read_ascending(value, 0, SPEC_CUTOFFS_MAX, row->min, row->max, row->pointer,
                          spec->model.cutoffs, &spec->model.n_cutoffs, err);
}

static void write_cutoffs(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                          const char *key)
{
    (void)row;
    write_list(spec->model.cutoffs, spec->model.n_cutoffs, emit, key);
}

/* --- members of an object ------------------------------------------------------ */

/* A member and its pointer; NULL with err_field if it is missing. */
static const json_t *member(const json_t *object, const char *base, const char *key,
                            char pointer[ERR_POINTER_MAX], struct err *err)
{
    const json_t *value = json_object_get(object, key);
    pointer_member(pointer, base, key);
    if (!value)
        err_field(err, pointer, "%s needs it", base);
    return value;
}

static int check_object(const json_t *value, const char *const *keys, const char *base,
                        struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    if (!json_is_object(value))
        return err_field(err, base, "%s is neither an object nor null", spec_quote(value, quoted));
    return spec_check_members(value, keys, base, err);
}

static int read_oversample(const struct spec_row *row, const json_t *value, struct spec *spec,
                           struct err *err)
{
    static const char *const keys[] = {"group", "factor", NULL};
    char pointer[ERR_POINTER_MAX];
    if (json_is_null(value))
        return 0;
    int bad = check_object(value, keys, row->pointer, err);
    if (!json_is_object(value))
        return -1;
    const json_t *group = member(value, row->pointer, "group", pointer, err);
    const char *name =
        group ? spec_check_text(group, 1, RECORD_NAME_MAX - 1, "", pointer, err) : NULL;
    if (name)
        snprintf(spec->data.oversample_group, sizeof spec->data.oversample_group, "%s", name);
    else
        bad = -1;
    const json_t *factor = member(value, row->pointer, "factor", pointer, err);
    if (!factor ||
        spec_check_real(factor, row->min, row->max, pointer, &spec->data.oversample_factor, err))
        bad = -1;
    return bad;
}

static void write_oversample(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                             const char *key)
{
    (void)row;
    if (!spec->data.oversample_group[0]) {
        emit_null(emit, key);
        return;
    }
    emit_object(emit, key);
    emit_text(emit, "group", spec->data.oversample_group);
    spec_emit_real(emit, "factor", spec->data.oversample_factor);
    emit_end(emit);
}

/* --- insertions ------------------------------------------------------------------ */

static int read_inject_doses(const json_t *value, const char *base, struct spec *spec,
                             struct err *err)
{
    static const int usual[] = {0, 1, 2, 4, 8};
    _Static_assert(sizeof usual / sizeof *usual <= SPEC_DOSES_MAX, "the usual doses fit");
    char pointer[ERR_POINTER_MAX];
    if (!value) {
        memcpy(spec->data.inject.doses, usual, sizeof usual);
        spec->data.inject.n_doses = (int)(sizeof usual / sizeof *usual);
        return 0;
    }
    pointer_member(pointer, base, "doses");
    return read_ascending(value, 1, SPEC_DOSES_MAX, 0, SPEC_DOSE_MAX, pointer,
                          spec->data.inject.doses, &spec->data.inject.n_doses, err);
}

/* [from, to] with from < to, or null for all epochs. */
static int read_inject_epochs(const json_t *value, const char *base, struct spec *spec,
                              struct err *err)
{
    char list[ERR_POINTER_MAX], pointer[ERR_POINTER_MAX];
    int64_t range[2] = {-1, -1};
    int bad = 0;
    pointer_member(list, base, "epochs");
    if (value && !json_is_null(value)) {
        if (spec_check_array(value, 2, 2, list, err))
            return -1;
        for (size_t i = 0; i < 2; i++) {
            pointer_index(pointer, list, i);
            if (spec_check_integer(json_array_get(value, i), (double)i, SPEC_EPOCHS_MAX, pointer,
                                   &range[i], err))
                bad = -1;
        }
        if (!bad && range[0] >= range[1])
            bad = err_field(err, pointer, "%lld is not above %lld, the first epoch",
                            (long long)range[1], (long long)range[0]);
    }
    spec->data.inject.from = range[0];
    spec->data.inject.to = range[1];
    return bad;
}

static int read_inject(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    static const char *const keys[] = {"tokens", "doses", "epochs", NULL};
    char pointer[ERR_POINTER_MAX];
    int64_t tokens = 0;
    if (json_is_null(value))
        return 0;
    int bad = check_object(value, keys, row->pointer, err);
    if (!json_is_object(value))
        return -1;
    const json_t *number = member(value, row->pointer, "tokens", pointer, err);
    if (!number || spec_check_integer(number, row->min, row->max, pointer, &tokens, err))
        bad = -1;
    spec->data.inject.tokens = (int)tokens;
    if (read_inject_doses(json_object_get(value, "doses"), row->pointer, spec, err))
        bad = -1;
    if (read_inject_epochs(json_object_get(value, "epochs"), row->pointer, spec, err))
        bad = -1;
    return bad;
}

static void write_inject_epochs(const struct spec *spec, struct emit *emit)
{
    if (spec->data.inject.to < 0) {
        emit_null(emit, "epochs");
        return;
    }
    emit_array(emit, "epochs");
    emit_integer(emit, NULL, spec->data.inject.from);
    emit_integer(emit, NULL, spec->data.inject.to);
    emit_end(emit);
}

static void write_inject(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                         const char *key)
{
    (void)row;
    if (!spec->data.inject.tokens) {
        emit_null(emit, key);
        return;
    }
    emit_object(emit, key);
    emit_integer(emit, "tokens", spec->data.inject.tokens);
    write_list(spec->data.inject.doses, spec->data.inject.n_doses, emit, "doses");
    write_inject_epochs(spec, emit);
    emit_end(emit);
}

const struct spec_kind spec_remedy_job = {read_job, write_job};
const struct spec_kind spec_remedy_cutoffs = {read_cutoffs, write_cutoffs};
const struct spec_kind spec_remedy_oversample = {read_oversample, write_oversample};
const struct spec_kind spec_remedy_inject = {read_inject, write_inject};
