/* record: every number has one name and one place, and JSON, CSV, lookup and
 * comparison agree about them. */
#include "config/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/spec.h"

enum { GROUPS = 3, SIZE = RECORD_SCALARS + GROUPS * RECORD_FIELDS };

static const char *const names[GROUPS] = {"most_common", "a/b~c", "say \"hi\", x"};

/* Every number different, none of them short. */
static void fill(double *values)
{
    for (int i = 0; i < SIZE; i++)
        values[i] = (i + 1) / 7.0;
}

static char *print_json(const char *job, int64_t epoch, const double *values)
{
    struct emit json;
    assert_int_equal(emit_open_text(&json), 0);
    record_emit(&json, job, epoch, values, GROUPS, names);
    return emit_close_text(&json);
}

static void pointer_of(int group, const char *field, char *pointer, size_t n)
{
    static const char *const escaped[GROUPS] = {"most_common", "a~1b~0c", "say \"hi\", x"};
    snprintf(pointer, n, "/groups/%s%s", escaped[group], field);
}

static void test_find_every_pointer(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char pointer[128];
    for (int i = 0; i < RECORD_SCALARS; i++)
        assert_int_equal(
            record_find(record_scalar_pointer((enum record_scalar)i), GROUPS, names, &err), i);
    for (int group = 0; group < GROUPS; group++)
        for (int field = 0; field < RECORD_FIELDS; field++) {
            pointer_of(group, record_field_pointer((enum record_field)field), pointer,
                       sizeof pointer);
            assert_int_equal(record_find(pointer, GROUPS, names, &err),
                             record_at(group, (enum record_field)field));
        }
    assert_int_equal(record_size(GROUPS), SIZE);
}

static void test_find_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "loss",
        "/Loss",
        "/loss/",
        "/groups",
        "/groups/most_common",
        "/groups/most_common/",
        "/groups/most_common/quantiles",
        "/groups/most_common/quantiles/5",
        "/logp_by_count",
        "/logp_by_count/8",
        "/groups/none/sd",
        "/groups/a/b~c/sd",
        "/groups/a~1b~/sd",
        "/groups/most_commonx/sd",
        "/groups/most_commo/sd",
        "/epoch",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(record_find(bad[i], GROUPS, names, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

/* Walk a parsed record along a pointer whose first parts name the group. */
static const json_t *walk(const json_t *group, const char *field)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", field + 1);
    char *rest = strchr(copy, '/');
    if (!rest)
        return json_object_get(group, copy);
    *rest++ = '\0';
    const json_t *inner = json_object_get(group, copy);
    return json_is_array(inner) ? json_array_get(inner, (size_t)atoi(rest))
                                : json_object_get(inner, rest);
}

static void test_json_reads_back(void **state)
{
    (void)state;
    double values[SIZE];
    fill(values);
    values[record_at(1, RECORD_INPUT_NORM)] = NAN;
    values[record_at(2, RECORD_Q05)] = -INFINITY;
    char *text = print_json("a \"job\"\n", 41, values);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "job")), "a \"job\"\n");
    assert_int_equal(json_integer_value(json_object_get(root, "epoch")), 41);
    for (int i = 0; i < RECORD_SCALARS; i++)
        assert_true(json_number_value(walk(root, record_scalar_pointer((enum record_scalar)i))) ==
                    values[i]);
    static const char *const arrays[] = {
        "logp_by_count",         "tokens_by_count",    "logp_by_exposure",
        "tokens_by_exposure",    "eval_loss_by_count", "eval_n_by_count",
        "holdout_loss_by_count", "holdout_n_by_count", "eval_logp_by_count"};
    enum {
        ARRAYS = sizeof arrays / sizeof *arrays,
        EVAL = 2,
        HOLDOUT = 10 /* apart in the table */
    };
    for (int i = 0; i < ARRAYS; i++)
        assert_int_equal(json_array_size(json_object_get(root, arrays[i])), RECORD_CLASSES);
    assert_int_equal(json_object_size(root), 3 + RECORD_SCALARS - ARRAYS * (RECORD_CLASSES - 1) -
                                                 (EVAL - 1) - (HOLDOUT - 1));
    assert_int_equal(json_object_size(json_object_get(root, "eval")), EVAL);
    assert_int_equal(json_object_size(json_object_get(root, "holdout")), HOLDOUT);
    for (int group = 0; group < GROUPS; group++) {
        const json_t *object = json_object_get(json_object_get(root, "groups"), names[group]);
        assert_non_null(object);
        for (int field = 0; field < RECORD_FIELDS; field++) {
            double value = values[record_at(group, (enum record_field)field)];
            const json_t *printed = walk(object, record_field_pointer((enum record_field)field));
            assert_non_null(printed);
            if (isfinite(value))
                assert_true(json_number_value(printed) == value);
            else
                assert_true(json_is_null(printed));
        }
        assert_int_equal(json_array_size(json_object_get(object, "quantiles")), 5);
        assert_int_equal(json_array_size(json_object_get(object, "eval_quantiles")), 5);
        assert_int_equal(json_object_size(json_object_get(object, "tokens_kept")), 4);
    }
    json_decref(root);
    free(text);
}

static void test_json_without_job(void **state)
{
    (void)state;
    double values[SIZE];
    fill(values);
    char *text = print_json(NULL, 0, values);
    assert_memory_equal(text, "{\"epoch\":0,\"loss\":", 18);
    assert_null(strchr(text, '\n'));
    free(text);
}

/* Cells of one CSV line, quotes kept. */
static int count_cells(const char *line)
{
    int cells = 1, quoted = 0;
    for (; *line; line++) {
        quoted ^= *line == '"';
        cells += *line == ',' && !quoted;
    }
    return cells;
}

static void test_csv(void **state)
{
    (void)state;
    double values[SIZE];
    char *text = NULL;
    size_t n;
    fill(values);
    values[RECORD_LOG_Z] = NAN;
    values[SIZE - 1] = NAN;
    FILE *out = open_memstream(&text, &n);
    record_print_csv_header(out, GROUPS, names);
    record_print_csv(out, 7, values, GROUPS);
    fclose(out);
    char *second = strstr(text, "\r\n");
    assert_non_null(second);
    *second = '\0';
    second += 2;
    assert_string_equal(second + strlen(second) - 2, "\r\n");
    assert_int_equal(count_cells(text), SIZE + 1);
    assert_int_equal(count_cells(second), SIZE + 1);
    static const char start[] = "epoch,loss,log_z,grad_norm,tokens_per_second,objective,h_norm,";
    assert_memory_equal(text, start, sizeof start - 1);
    assert_non_null(strstr(text, ",logp_by_count.0,logp_by_count.1,"));
    assert_non_null(strstr(text, ",holdout.seen_word_tokens,groups.most_common.mean_logp.none,"));
    assert_non_null(strstr(text, ",groups.most_common.grad.softmax,"));
    assert_non_null(strstr(text, ",groups.most_common.quantiles.4,"));
    assert_non_null(strstr(text, ",groups.a/b~c.sd,"));
    assert_non_null(strstr(text, ",\"groups.say \"\"hi\"\", x.sd\","));
    assert_memory_equal(second, "7,0.14285714285714", 18);
    assert_non_null(strstr(second, ",,"));
    assert_string_equal(second + strlen(second) - 3, ",\r\n");
    free(text);
}

static void test_expand(void **state)
{
    (void)state;
    enum { OLD_SCALARS = RECORD_SCALARS - 1, OLD_FIELDS = RECORD_FIELDS - 2 };
    double old[OLD_SCALARS + GROUPS * OLD_FIELDS], values[SIZE];
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
        old[i] = (double)i;
    record_expand(old, OLD_SCALARS, OLD_FIELDS, GROUPS, values);
    for (int i = 0; i < RECORD_SCALARS; i++)
        assert_true(i < OLD_SCALARS ? values[i] == i : isnan(values[i]));
    for (int group = 0; group < GROUPS; group++)
        for (int field = 0; field < RECORD_FIELDS; field++) {
            double value = values[record_at(group, (enum record_field)field)];
            if (field < OLD_FIELDS)
                assert_true(value == OLD_SCALARS + group * OLD_FIELDS + field);
            else
                assert_true(isnan(value));
        }
}

/* What the longest job leaves in the database is what its limit says (config/spec.h). */
static void test_size_of_the_longest_job(void **state)
{
    (void)state;
    struct spec *spec = spec_default();
    assert_non_null(spec);
    const int64_t record = (int64_t)record_size(GROUPS) * (int64_t)sizeof(double);
    const int64_t tokens = (int64_t)GROUPS * spec->groups.size * (int64_t)sizeof(float);
    assert_in_range(SPEC_EPOCHS_MAX * (record + tokens), INT64_C(2950000000), INT64_C(3050000000));
    spec_free(spec);
}

static void test_same(void **state)
{
    (void)state;
    double a[SIZE], b[SIZE];
    fill(a);
    a[5] = NAN;
    for (int i = 0; i < SIZE; i++) {
        memcpy(b, a, sizeof b);
        assert_true(record_same(a, b, GROUPS));
        b[i] = nextafter(a[i], 1e9);
        if (i != 5)
            assert_int_equal(record_same(a, b, GROUPS), i == RECORD_TOKENS_PER_SECOND);
        b[i] = i == 5 ? 1 : NAN;
        assert_int_equal(record_same(a, b, GROUPS), i == RECORD_TOKENS_PER_SECOND);
    }
    memcpy(b, a, sizeof b);
    b[5] = -NAN;
    assert_true(record_same(a, b, GROUPS));
    a[6] = 0.0;
    b[6] = -0.0;
    assert_false(record_same(a, b, GROUPS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_every_pointer),
        cmocka_unit_test(test_find_refuses),
        cmocka_unit_test(test_json_reads_back),
        cmocka_unit_test(test_json_without_job),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_size_of_the_longest_job),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
