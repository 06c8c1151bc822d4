/* spec: limits of every field, defaults, round trips, presets, and errors of bad input.
 * Cases name a field by its JSON pointer; `accepts` and `refuses` wrap a value into the
 * smallest spec that holds it. */
#include "config/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/spec_kind.h"

/* {"section": {"field": value}} of "/section/field", or {"field": value}. */
static char *wrap(const char *pointer, const char *value)
{
    char *json = NULL;
    const char *slash = strrchr(pointer, '/');
    int section = (int)(slash - pointer);
    int n = section ? asprintf(&json, "{\"%.*s\":{\"%s\":%s}}", section - 1, pointer + 1, slash + 1,
                               value)
                    : asprintf(&json, "{\"%s\":%s}", slash + 1, value);
    assert_true(n > 0);
    return json;
}

static int parse(const char *json, struct spec **out, struct err *err)
{
    *out = NULL;
    err_clear(err);
    return spec_parse(json, strlen(json), out, err);
}

static struct spec *must_parse(const char *json)
{
    struct spec *spec;
    struct err err = ERR_INIT;
    if (parse(json, &spec, &err))
        fail_msg("%.200s: %s", json, err.message);
    return spec;
}

/* print(parse(print(spec))) == print(spec), byte for byte. */
static void check_round_trip(const struct spec *spec)
{
    char *once = spec_print(spec);
    assert_non_null(once);
    struct spec *again = must_parse(once);
    char *twice = spec_print(again);
    assert_string_equal(once, twice);
    char *difference = spec_diff(spec, again);
    assert_string_equal(difference, "[]");
    free(difference);
    free(twice);
    free(once);
    spec_free(again);
}

static void accepts(const char *pointer, const char *value)
{
    char *json = wrap(pointer, value);
    struct spec *spec = must_parse(json);
    check_round_trip(spec);
    spec_free(spec);
    free(json);
}

/* Refused with exactly one bad field, this one or one below it, with `quote` in its
 * sentence. */
static void refuses(const char *pointer, const char *value, const char *quote)
{
    struct spec *spec;
    struct err err = ERR_INIT;
    char *json = wrap(pointer, value);
    assert_int_equal(parse(json, &spec, &err), -1);
    assert_null(spec);
    if (err.code != ERR_INVALID || err.n_fields != 1 ||
        strncmp(err.fields[0].pointer, pointer, strlen(pointer)) != 0 ||
        !strstr(err.fields[0].detail, quote))
        fail_msg("%s: %s, %d fields, %s", json, err_name(err.code), err.n_fields, err.message);
    free(json);
}

static void test_defaults(void **state)
{
    (void)state;
    struct spec *spec = spec_default();
    assert_non_null(spec);
    assert_string_equal(spec->name, "gulliver");
    assert_string_equal(spec->notes, "");
    assert_string_equal(spec->corpus.id, "gulliver");
    assert_string_equal(spec->corpus.tokenizer, "gpt2");
    assert_int_equal(spec->corpus.variant, VARIANT_LF);
    assert_int_equal(spec->corpus.shuffled, 0);
    assert_int_equal(spec->model.d_model, 128);
    assert_int_equal(spec->model.n_layers, 4);
    assert_int_equal(spec->model.n_heads, 4);
    assert_int_equal(spec->model.seq_len, 64);
    assert_int_equal(spec->model.tie, TIE_TIED);
    assert_true(spec->model.logit_scale == 1);
    assert_int_equal(spec->model.activation, ACTIVATION_GELU);
    assert_true(spec->model.init_std == 0.02 && spec->model.position_std == 0.02);
    assert_int_equal(spec->train.epochs, 500);
    assert_int_equal(spec->train.steps_per_epoch, 1);
    assert_int_equal(spec->train.batch_size, 8);
    assert_int_equal(spec->train.optimizer, OPTIMIZER_ADAMW);
    assert_true(spec->train.lr == 1e-3 && spec->train.beta1 == 0.9 && spec->train.beta2 == 0.999);
    assert_true(spec->train.eps == 1e-8 && spec->train.weight_decay == 0.01);
    assert_int_equal(spec->train.decay_embeddings, 1);
    assert_int_equal(spec->train.shuffle_offset, 1);
    assert_int_equal(spec_seed_weights(spec), 1);
    assert_int_equal(spec_seed_groups(spec), 1);
    assert_int_equal(spec->groups.size, 100);
    assert_int_equal(spec->groups.mask, MASK_COLUMNS);
    assert_string_equal(spec->resources.device, "auto");
    assert_int_equal(spec->resources.max_attempts, 3);
    assert_int_equal(spec->resources.threads, 0);
    assert_string_equal(spec->init_from, "");
    assert_int_equal(spec->corpus.vocabulary, VOCABULARY_ALL);
    assert_int_equal(spec->model.head, HEAD_FULL);
    assert_int_equal(spec->model.n_cutoffs, 0);
    assert_true(spec->loss.class_weight == 0 && spec->loss.logit_adjustment == 0);
    assert_true(spec->loss.label_smoothing == 0 && spec->loss.z_loss == 0);
    assert_string_equal(spec->data.oversample_group, "");
    assert_int_equal(spec->data.inject.tokens, 0);
    assert_int_equal(spec->data.holdout, 0);
    assert_int_equal(spec->eval.windows, 0);
    check_round_trip(spec);
    spec_free(spec);
}

static void test_integer_limits(void **state)
{
    (void)state;
    static const struct {
        const char *pointer, *min, *below, *max, *above;
    } cases[] = {
        {"/model/n_layers", "1", "0", "128", "129"},
        {"/model/n_heads", "1", "0", "128", "129"},
        {"/model/seq_len", "1", "0", "1024", "1025"},
        {"/train/epochs", "1", "0", "1000000", "1000001"},
        {"/train/steps_per_epoch", "1", "0", "1000000", "1000001"},
        {"/train/batch_size", "1", "0", "4096", "4097"},
        {"/train/seed", "0", "-1", "9007199254740991", "9007199254740992"},
        {"/train/seed_weights", "0", "-1", "9007199254740991", "9007199254740992"},
        {"/train/seed_data", "0", "-1", "9007199254740991", "9007199254740992"},
        {"/train/seed_groups", "0", "-1", "9007199254740991", "9223372036854775807"},
        {"/groups/size", "1", "0", "5000", "5001"},
        {"/eval/windows", "0", "-1", "65536", "65537"},
        {"/eval/every", "1", "0", "1000000", "1000001"},
        {"/resources/priority", "-100", "-101", "100", "101"},
        {"/resources/max_seconds", "0", "-1", "315360000", "315360001"},
        {"/resources/max_attempts", "1", "0", "100", "101"},
        {"/resources/threads", "0", "-1", "256", "257"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        accepts(cases[i].pointer, cases[i].min);
        accepts(cases[i].pointer, cases[i].max);
        refuses(cases[i].pointer, cases[i].below, cases[i].below);
        refuses(cases[i].pointer, cases[i].above, cases[i].above);
        refuses(cases[i].pointer, "1.5", "1.5");
        accepts(cases[i].pointer, "1.0");
        accepts(cases[i].pointer, "1e0");
        refuses(cases[i].pointer, "1e19", "outside");
        refuses(cases[i].pointer, "\"1\"", "\"1\"");
        refuses(cases[i].pointer, "true", "true");
        refuses(cases[i].pointer, "[]", "[]");
        if (!strstr(cases[i].pointer, "seed_"))
            refuses(cases[i].pointer, "null", "null");
    }
    accepts("/model/d_model", "8192");
    refuses("/model/d_model", "8193", "8193");
    refuses("/model/d_model", "0", "0");
    refuses("/model/d_model", "2.5", "2.5");
}

static void test_real_limits(void **state)
{
    (void)state;
    static const struct {
        const char *pointer, *min, *below, *max, *above;
    } cases[] = {
        {"/model/logit_scale", "1e-30", "0", "1e30", "1.1e30"},
        {"/model/init_std", "0", "-0.001", "1e30", "1e31"},
        {"/model/position_std", "0", "-1", "1e30", "1e308"},
        {"/train/lr", "1e-30", "0", "1e30", "1e31"},
        {"/train/beta1", "0", "-0.1", "0.999999", "1"},
        {"/train/beta2", "0", "-1", "0.999999", "0.9999999"},
        {"/train/eps", "1e-30", "0.0", "1", "2e30"},
        {"/train/weight_decay", "0", "-0.01", "1e30", "1e31"},
        {"/train/momentum", "0", "-1", "0.99", "1"},
        {"/train/grad_clip", "0", "-1", "1e30", "1e31"},
        {"/loss/class_weight", "0", "-0.5", "4", "4.001"},
        {"/loss/logit_adjustment", "0", "-1", "4", "5"},
        {"/loss/label_smoothing", "0", "-1e-9", "0.999", "1"},
        {"/loss/z_loss", "0", "-1e-4", "1000", "1001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        accepts(cases[i].pointer, cases[i].min);
        accepts(cases[i].pointer, cases[i].max);
        accepts(cases[i].pointer, "0.12345678901234566");
        refuses(cases[i].pointer, cases[i].below, "outside");
        refuses(cases[i].pointer, cases[i].above, "outside");
        refuses(cases[i].pointer, "\"big\"", "\"big\"");
        refuses(cases[i].pointer, "null", "null");
        refuses(cases[i].pointer, "false", "false");
    }
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *pointer, *words;
    } cases[] = {
        {"/corpus/variant", "raw lf body"},
        {"/corpus/tokenizer", "gpt2 cl100k_base bytes"},
        {"/corpus/vocabulary", "all used"},
        {"/model/tie", "tied untied untied_equal"},
        {"/model/activation", "gelu gelu_new relu"},
        {"/train/sampling", "random shuffle"},
        {"/train/optimizer", "sgd momentum adam adamw"},
        {"/train/precision", "auto fp32 bf16"},
        {"/groups/selection", "frequency published-2025 published-2026"},
        {"/groups/ties", "seeded id"},
        {"/groups/mask", "none columns windows positions"},
        {"/resources/device", "auto cpu cuda cuda:0 cuda:63"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[64], quoted[48], *rest = words;
        snprintf(words, sizeof words, "%s", cases[i].words);
        for (char *word; (word = strsep(&rest, " "));) {
            snprintf(quoted, sizeof quoted, "\"%s\"", word);
            accepts(cases[i].pointer, quoted);
            snprintf(quoted, sizeof quoted, "\"%sx\"", word);
            refuses(cases[i].pointer, quoted, quoted);
        }
        refuses(cases[i].pointer, "\"\"", "\"\"");
        refuses(cases[i].pointer, "0", "0");
        refuses(cases[i].pointer, "null", "null");
    }
    refuses("/resources/device", "\"cuda:64\"", "cuda:64");
    refuses("/resources/device", "\"cuda:01\"", "cuda:01");
    refuses("/resources/device", "\"cuda:-1\"", "cuda:-1");
    refuses("/resources/device", "\"cuda:\"", "cuda:");
    refuses("/resources/device", "\"cuda:99999999999999999999\"", "cuda:999");
}

static void test_booleans(void **state)
{
    (void)state;
    static const char *const pointers[] = {"/corpus/shuffled", "/model/head_bias",
                                           "/train/decay_embeddings", "/train/shuffle_offset"};
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++) {
        accepts(pointers[i], "true");
        accepts(pointers[i], "false");
        refuses(pointers[i], "1", "1");
        refuses(pointers[i], "0", "0");
        refuses(pointers[i], "\"true\"", "\"true\"");
        refuses(pointers[i], "null", "null");
    }
}

/* A JSON string of n letters. */
static char *letters(size_t n)
{
    char *text = malloc(n + 3);
    assert_non_null(text);
    memset(text, 'n', n + 2);
    text[0] = text[n + 1] = '"';
    text[n + 2] = '\0';
    return text;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *pointer;
        size_t max;
    } cases[] = {
        {"/name", SPEC_NAME_MAX}, {"/notes", SPEC_NOTES_MAX}, {"/corpus/id", SPEC_CORPUS_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *longest = letters(cases[i].max), *longer = letters(cases[i].max + 1);
        accepts(cases[i].pointer, longest);
        refuses(cases[i].pointer, longer, "nnnnn...");
        refuses(cases[i].pointer, "7", "7");
        refuses(cases[i].pointer, "\"a\\u001bb\"", "0x1b");
        free(longest);
        free(longer);
    }
    accepts("/name", "\"Gulliver \\u2014 d = 768, \\ud83d\\ude00 \\\"quoted\\\" \\\\\"");
    accepts("/notes", "\"two\\nlines\\tand a tab\"");
    accepts("/notes", "\"\"");
    refuses("/name", "\"\"", "0 bytes");
    refuses("/name", "\"two\\nlines\"", "0x0a");
    refuses("/corpus/id", "\"\"", "0 bytes");
    refuses("/corpus/id", "\"../etc/passwd\"", "../etc/passwd");
    refuses("/corpus/id", "\"a/b\"", "a/b");
    refuses("/corpus/id", "\"..\"", "..");
    accepts("/corpus/id", "\"pg829.txt\"");
}

static void test_lists(void **state)
{
    (void)state;
    accepts("/tags", "[]");
    accepts("/tags", "[\"a\",\"b\"]");
    accepts("/tags", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
                     "\"13\",\"14\",\"15\",\"16\"]");
    refuses("/tags",
            "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
            "\"13\",\"14\",\"15\",\"16\",\"17\"]",
            "17 elements");
    refuses("/tags", "[\"a\",\"b\",\"a\"]", "twice");
    refuses("/tags", "[\"a\",1]", "1");
    refuses("/tags", "[\"\"]", "0 bytes");
    refuses("/tags", "\"a\"", "\"a\"");
    accepts("/train/snapshots", "[0,500]");
    refuses("/train/snapshots", "[501]", "501");
    refuses("/train/snapshots", "[1,1.5]", "1.5");
    refuses("/train/snapshots", "[-1]", "-1");
    refuses("/train/snapshots", "3", "3");

    struct spec *spec = must_parse("{\"train\":{\"snapshots\":[100,0,7,100,0]}}");
    assert_int_equal(spec->train.n_snapshots, 3);
    assert_int_equal(spec->train.snapshots[0], 0);
    assert_int_equal(spec->train.snapshots[1], 7);
    assert_int_equal(spec->train.snapshots[2], 100);
    spec_free(spec);
}

static void test_custom_groups(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"{}", "", "not an array"},
        {"[1]", "/0", "1 is not an object"},
        {"[{\"tokens\":[1]}]", "/0/name", "needs a name"},
        {"[{\"name\":\"a\"}]", "/0/tokens", "needs its tokens"},
        {"[{\"name\":\"a\",\"tokens\":[]}]", "/0/tokens", "[]"},
        {"[{\"name\":\"a\",\"tokens\":7}]", "/0/tokens", "7"},
        {"[{\"name\":\"a\",\"tokens\":[1,2.5]}]", "/0/tokens/1", "2.5"},
        {"[{\"name\":\"a\",\"tokens\":[-1]}]", "/0/tokens/0", "-1"},
        {"[{\"name\":\"a\",\"tokens\":[2147483648]}]", "/0/tokens/0", "2147483648"},
        {"[{\"name\":\"a\",\"tokens\":[\"\"]}]", "/0/tokens/0", "0 bytes"},
        {"[{\"name\":\"a\",\"tokens\":[null]}]", "/0/tokens/0", "null"},
        {"[{\"name\":\"\",\"tokens\":[1]}]", "/0/name", "0 bytes"},
        {"[{\"name\":\"never_used\",\"tokens\":[1]}]", "/0/name", "never_used"},
        {"[{\"name\":\"a\",\"tokens\":[1]},{\"name\":\"a\",\"tokens\":[2]}]", "/1/name", "\"a\""},
        {"[{\"name\":\"a\",\"tokens\":[1],\"x/y\":3}]", "/0/x~1y", "3"},
        {"[{\"name\":\"a\",\"tokens\":[1]},{\"name\":\"b\",\"tokens\":[1]},"
         "{\"name\":\"c\",\"tokens\":[1]},{\"name\":\"d\",\"tokens\":[1]},"
         "{\"name\":\"e\",\"tokens\":[1]},{\"name\":\"f\",\"tokens\":[1]}]",
         "", "6 elements"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char pointer[64];
        struct spec *spec;
        struct err err = ERR_INIT;
        char *json = wrap("/groups/custom", bad[i][0]);
        snprintf(pointer, sizeof pointer, "/groups/custom%s", bad[i][1]);
        assert_int_equal(parse(json, &spec, &err), -1);
        assert_int_equal(err.n_fields, 1);
        assert_string_equal(err.fields[0].pointer, pointer);
        assert_non_null(strstr(err.fields[0].detail, bad[i][2]));
        free(json);
    }
    accepts("/groups/custom", "[{\"name\":\"a/b ~ \\u00e9\",\"tokens\":[\" Yahoo\",123,\"\\n\"]}]");

    struct spec *spec =
        must_parse("{\"groups\":{\"custom\":[{\"name\":\"y\",\"tokens\":[\" Yahoo\",123]}]}}");
    assert_int_equal(spec->groups.n_custom, 1);
    assert_string_equal(spec->groups.custom[0].name, "y");
    assert_int_equal(spec->groups.custom[0].n_tokens, 2);
    assert_string_equal(spec->groups.custom[0].tokens[0].text, " Yahoo");
    assert_int_equal(spec->groups.custom[0].tokens[0].id, -1);
    assert_int_equal(spec->groups.custom[0].tokens[1].id, 123);
    assert_null(spec->groups.custom[0].tokens[1].text);
    spec_free(spec);
}

static void test_special_values(void **state)
{
    (void)state;
    struct spec *spec = must_parse("{\"model\":{\"logit_scale\":\"inv_sqrt_d\",\"d_model\":768},"
                                   "\"train\":{\"steps_per_epoch\":\"pass\",\"seed\":5,"
                                   "\"seed_data\":9,\"seed_weights\":null,\"lr\":1}}");
    assert_true(spec->model.logit_scale == 1 / sqrt(768));
    assert_int_equal(spec->train.steps_per_epoch, 0);
    assert_int_equal(spec_seed_weights(spec), 5);
    assert_int_equal(spec_seed_data(spec), 9);
    assert_int_equal(spec_seed_groups(spec), 5);
    assert_true(spec->train.lr == 1);
    char *text = spec_print(spec);
    assert_non_null(strstr(text, "\"logit_scale\":\"inv_sqrt_d\""));
    assert_non_null(strstr(text, "\"steps_per_epoch\":\"pass\""));
    assert_non_null(strstr(text, "\"seed_weights\":null"));
    assert_non_null(strstr(text, "\"eps\":1e-8"));
    check_round_trip(spec);
    free(text);
    spec_free(spec);
    refuses("/model/logit_scale", "\"sqrt\"", "\"sqrt\"");
    refuses("/train/steps_per_epoch", "\"all\"", "\"all\"");
}

static void test_contradictions(void **state)
{
    (void)state;
    struct spec *spec;
    struct err err = ERR_INIT;
    assert_int_equal(parse("{\"model\":{\"d_model\":100,\"n_heads\":12}}", &spec, &err), -1);
    assert_int_equal(err.n_fields, 1);
    assert_string_equal(err.fields[0].pointer, "/model/d_model");
    assert_string_equal(err.fields[0].detail, "100 is not divisible by n_heads 12");
    assert_string_equal(err.message, "/model/d_model: 100 is not divisible by n_heads 12");
    /* A value that nobody sent is called what it is. */
    assert_int_equal(parse("{\"model\":{\"n_heads\":5}}", &spec, &err), -1);
    assert_string_equal(err.message, "/model/d_model: 128 is not divisible by n_heads 5 "
                                     "(the default: the field was not sent)");
    assert_string_equal(err.fields[0].detail, err.message + strlen("/model/d_model: "));
    /* A value that was sent is quoted with all its digits. */
    assert_int_equal(parse("{\"model\":{\"head\":\"adaptive\",\"tie\":\"untied\",\"cutoffs\":[10]},"
                           "\"loss\":{\"z_loss\":0.1234567890123456}}",
                           &spec, &err),
                     -1);
    assert_non_null(strstr(err.fields[0].detail, "0.1234567890123456 does not go"));
    refuses("/train/lr", "-0.1234567890123456", "-0.1234567890123456 is outside");
    assert_int_equal(
        parse("{\"model\":{\"seq_len\":1024},\"train\":{\"batch_size\":1025}}", &spec, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/train/batch_size");
    assert_non_null(strstr(err.fields[0].detail, "1025"));
    spec_free(must_parse("{\"model\":{\"seq_len\":1024},\"train\":{\"batch_size\":1024}}"));
}

#define JOB "0b0a8f3e-5a5c-4b6c-9d5e-0123456789ab"

/* Whole specs: every refusal names the field to change and its value. */
static void test_remedies(void **state)
{
    (void)state;
    static const struct {
        const char *json, *pointer, *detail; /* pointer NULL: accepted */
    } cases[] = {
        {"{\"init_from\":null}", NULL, NULL},
        {"{\"init_from\":\"" JOB "\"}", NULL, NULL},
        {"{\"init_from\":\"0b0a8f3e\"}", "/init_from", "\"0b0a8f3e\""},
        {"{\"init_from\":\"0B0A8F3E-5a5c-4b6c-9d5e-0123456789ab\"}", "/init_from", "0B0A"},
        {"{\"init_from\":\"0b0a8f3e-5a5c-4b6c-9d5e/0123456789ab\"}", "/init_from", "9d5e/"},
        {"{\"init_from\":7}", "/init_from", "7"},

        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[100,2000],\"tie\":\"untied\"}}", NULL,
         NULL},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[100]}}", "/model/tie", "\"tied\""},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[100],\"tie\":\"untied_equal\"}}",
         "/model/tie", "\"untied_equal\""},
        {"{\"model\":{\"head\":\"adaptive\",\"tie\":\"untied\"}}", "/model/cutoffs", "[]"},
        {"{\"model\":{\"cutoffs\":[100]}}", "/model/cutoffs", "1 cutoffs"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[200,100],\"tie\":\"untied\"}}",
         "/model/cutoffs/1", "100 is not above 200"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[100,100],\"tie\":\"untied\"}}",
         "/model/cutoffs/1", "100 is not above 100"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[0],\"tie\":\"untied\"}}",
         "/model/cutoffs/0", "0 is outside"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[1.5],\"tie\":\"untied\"}}",
         "/model/cutoffs/0", "1.5"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[1,2,3,4,5,6,7,8,9],\"tie\":\"untied\"}}",
         "/model/cutoffs", "9 elements"},
        {"{\"model\":{\"head\":\"hierarchical\"}}", "/model/head", "\"hierarchical\""},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9],\"tie\":\"untied\",\"head_bias\":true}"
         "}",
         "/model/head_bias", "true"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9],\"tie\":\"untied\"},"
         "\"loss\":{\"label_smoothing\":0.1}}",
         "/loss/label_smoothing", "0.1"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9],\"tie\":\"untied\"},"
         "\"loss\":{\"logit_adjustment\":1}}",
         "/loss/logit_adjustment", "1"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9],\"tie\":\"untied\"},"
         "\"loss\":{\"z_loss\":1e-4}}",
         "/loss/z_loss", "0.0001"},
        {"{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9],\"tie\":\"untied\"},"
         "\"loss\":{\"class_weight\":0.5}}",
         NULL, NULL},

        {"{\"data\":{\"holdout\":10},\"corpus\":{\"variant\":\"body\"}}", NULL, NULL},
        {"{\"data\":{\"holdout\":10}}", "/data/holdout", "not \"lf\""},
        {"{\"data\":{\"holdout\":1},\"corpus\":{\"variant\":\"body\"}}", "/data/holdout",
         "1 holds"},
        {"{\"data\":{\"holdout\":1001}}", "/data/holdout", "1001"},
        {"{\"data\":{\"holdout\":true}}", "/data/holdout", "true"},
        {"{\"data\":{\"holdout\":2},\"corpus\":{\"variant\":\"body\"},\"model\":{\"seq_len\":1024}"
         "}",
         "/model/seq_len", "1024"},
        {"{\"data\":{\"holdout\":2},\"corpus\":{\"variant\":\"body\"},\"model\":{\"seq_len\":1023}"
         "}",
         NULL, NULL},

        {"{\"data\":{\"oversample\":{\"group\":\"least_common\",\"factor\":2.5}}}", NULL, NULL},
        {"{\"data\":{\"oversample\":{\"group\":\"y\",\"factor\":2}},"
         "\"groups\":{\"custom\":[{\"name\":\"y\",\"tokens\":[1]}]}}",
         NULL, NULL},
        {"{\"data\":{\"oversample\":{\"group\":\"y\",\"factor\":2}}}", "/data/oversample/group",
         "\"y\""},
        {"{\"data\":{\"oversample\":{\"group\":\"least_common\"}}}", "/data/oversample/factor",
         "needs it"},
        {"{\"data\":{\"oversample\":{\"factor\":2}}}", "/data/oversample/group", "needs it"},
        {"{\"data\":{\"oversample\":{\"group\":\"least_common\",\"factor\":0.5}}}",
         "/data/oversample/factor", "0.5"},
        {"{\"data\":{\"oversample\":{\"group\":7,\"factor\":2}}}", "/data/oversample/group", "7"},
        {"{\"data\":{\"oversample\":{\"group\":\"least_common\",\"factor\":2,\"x\":1}}}",
         "/data/oversample/x", "1"},
        {"{\"data\":{\"oversample\":[]}}", "/data/oversample", "[]"},
        {"{\"data\":{\"oversample\":{\"group\":\"least_common\",\"factor\":2}},"
         "\"train\":{\"sampling\":\"shuffle\"}}",
         "/train/sampling", "shuffle"},

        {"{\"data\":{\"inject\":{\"tokens\":20}}}", NULL, NULL},
        {"{\"data\":{\"inject\":{\"tokens\":20,\"doses\":[0,3],\"epochs\":[10,500]}}}", NULL, NULL},
        {"{\"data\":{\"inject\":{\"tokens\":20,\"epochs\":null}}}", NULL, NULL},
        {"{\"data\":{\"inject\":{}}}", "/data/inject/tokens", "needs it"},
        {"{\"data\":{\"inject\":{\"tokens\":0}}}", "/data/inject/tokens", "0"},
        {"{\"data\":{\"inject\":{\"tokens\":1001}}}", "/data/inject/tokens", "1001"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"doses\":[]}}}", "/data/inject/doses", "[]"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"doses\":[2,1]}}}", "/data/inject/doses/1",
         "1 is not above 2"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"doses\":[1001]}}}", "/data/inject/doses/0", "1001"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"epochs\":[5,5]}}}", "/data/inject/epochs/1",
         "5 is not above 5"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"epochs\":[5]}}}", "/data/inject/epochs", "[5]"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"epochs\":[0,501]}}}", "/data/inject/epochs/1",
         "501"},
        {"{\"data\":{\"inject\":{\"tokens\":1}},"
         "\"groups\":{\"custom\":[{\"name\":\"y\",\"tokens\":[1]}]}}",
         "/data/inject/doses", "5 doses and 1 custom"},
        {"{\"data\":{\"inject\":{\"tokens\":1,\"doses\":[0,4]}},"
         "\"groups\":{\"custom\":[{\"name\":\"dose_4\",\"tokens\":[1]}]}}",
         "/groups/custom/0/name", "dose_4"},
        {"{\"data\":{\"inject\":{\"tokens\":1}},\"corpus\":{\"vocabulary\":\"used\"}}",
         "/corpus/vocabulary", "\"used\""},
        {"{\"data\":{\"inject\":{\"tokens\":1}},\"loss\":{\"class_weight\":0.5}}",
         "/loss/class_weight", "0.5"},
        {"{\"corpus\":{\"vocabulary\":\"used\"},\"groups\":{\"selection\":\"published-2025\"}}",
         "/groups/selection", "\"used\""},
        {"{\"loss\":{\"class_weight\":\"NaN\"}}", "/loss/class_weight", "\"NaN\""},
        {"{\"loss\":{\"class_weight\":null}}", "/loss/class_weight", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spec *spec;
        struct err err = ERR_INIT;
        int result = parse(cases[i].json, &spec, &err);
        if (!cases[i].pointer) {
            if (result)
                fail_msg("%s: %s", cases[i].json, err.message);
            check_round_trip(spec);
            spec_free(spec);
            continue;
        }
        if (!result || err.n_fields != 1 || strcmp(err.fields[0].pointer, cases[i].pointer) != 0 ||
            !strstr(err.fields[0].detail, cases[i].detail))
            fail_msg("%s: %d fields, %s", cases[i].json, err.n_fields, err.message);
    }
}

static void test_inject_is_resolved(void **state)
{
    (void)state;
    int64_t from, to;
    struct spec *spec =
        must_parse("{\"train\":{\"epochs\":70},\"data\":{\"inject\":{\"tokens\":9}}}");
    spec_inject_epochs(spec, &from, &to);
    assert_int_equal(from, 0);
    assert_int_equal(to, 70);
    char *text = spec_print(spec);
    assert_non_null(
        strstr(text, "\"inject\":{\"tokens\":9,\"doses\":[0,1,2,4,8],\"epochs\":null}"));
    free(text);
    spec_free(spec);
    spec = must_parse("{\"data\":{\"inject\":{\"tokens\":9,\"doses\":[3],\"epochs\":[0,9]}}}");
    spec_inject_epochs(spec, &from, &to);
    assert_int_equal(from, 0);
    assert_int_equal(to, 9);
    assert_int_equal(spec->data.inject.n_doses, 1);
    assert_int_equal(spec->data.inject.doses[0], 3);
    spec_free(spec);
}

static int has_field(const struct err *err, const char *pointer)
{
    int count = 0;
    for (int i = 0; i < err->n_fields; i++)
        count += strcmp(err->fields[i].pointer, pointer) == 0;
    return count == 1;
}

static void test_all_errors_at_once(void **state)
{
    (void)state;
    struct spec *spec;
    struct err err = ERR_INIT;
    static const char *const pointers[] = {"/model/d_model",        "/model/n_layers", "/train/lr",
                                           "/train/snapshots/1",    "/extra",          "/corpus",
                                           "/groups/custom/0/name", "/train/a~1b",     "/tags/0"};
    const char *json = "{\"model\":{\"d_model\":100,\"n_heads\":12,\"n_layers\":-1},"
                       "\"train\":{\"lr\":\"fast\",\"snapshots\":[1,900],\"a/b\":{}},\"extra\":1,"
                       "\"corpus\":\"gulliver\",\"tags\":[3],"
                       "\"groups\":{\"custom\":[{\"name\":\"most_common\",\"tokens\":[1]}]}}";
    assert_int_equal(parse(json, &spec, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(err.n_fields, sizeof pointers / sizeof pointers[0]);
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++)
        assert_true(has_field(&err, pointers[i]));
    /* A field that is bad by itself enters no rule. */
    assert_int_equal(parse("{\"model\":{\"d_model\":\"x\",\"n_heads\":7}}", &spec, &err), -1);
    assert_int_equal(err.n_fields, 1);
}

static void test_many_errors_are_counted(void **state)
{
    (void)state;
    char json[1024] = "{\"u0\":0";
    for (int i = 1; i < 40; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json), ",\"u%d\":0", i);
    strcat(json, "}");
    struct spec *spec;
    struct err err = ERR_INIT;
    assert_int_equal(parse(json, &spec, &err), -1);
    assert_int_equal(err.n_fields, ERR_FIELDS_MAX);
    assert_int_equal(err.n_more, 40 - ERR_FIELDS_MAX);
}

static void test_mark_and_zeros(void **state)
{
    (void)state;
    struct spec *spec;
    struct err err = ERR_INIT;
    assert_int_equal(parse("\xef\xbb\xbf{\"name\": \"a\"}", &spec, &err), 0);
    assert_string_equal(spec->name, "a");
    spec_free(spec);
    refuses("/name", "\"a\\u0000b\"", "U+0000");
    /* The mark does not hide the number's field. */
    assert_int_equal(parse("\xef\xbb\xbf{\"train\":{\"lr\":NaN}}", &spec, &err), -1);
    assert_string_equal(err.fields[0].pointer, "/train/lr");
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "7",
        "\"x\"",
        "null",
        "{} x",
        "{\"name\":}",
        "{'name':1}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"train\":{\"lr\":1,\"lr\":1}}",
        "{\"groups\":{\"custom\":[{\"name\":\"a\",\"name\":\"b\",\"tokens\":[1]}]}}",
        "NaN",
        "[NaN]",
        "{\"name\":NaN}",
        "{\"train\":{\"lr\":NaN}",
        "{\"train\":{\"lr\":NaNs}}",
        "{\"name\":1e999",
        "{\"name\":nan}",
        "{\"train\":{\"lr\":nanometre}}",
        "{\"train\":{\"lr\":0x1p9999}}",
        "{\"train\":{\"lr\":-}}",
        "{\"name\":\"\xff\"}",
        "{\"name\":\"\xed\xa0\x80\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"a\nb\"}",
        "{\"train\":{\"lr\":01}}",
        "{\"train\":{\"lr\":+1}}",
        "\xef\xbb{}",
        "\xef\xbb\xbf\xef\xbb\xbf{}",
        "{\"na\\u0000me\":1}",
        "{\"a\":1,}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spec *spec;
        struct err err = ERR_INIT;
        assert_int_equal(parse(cases[i], &spec, &err), -1);
        assert_null(spec);
        if (err.code != ERR_MALFORMED)
            fail_msg("%s: %s %s", cases[i], err_name(err.code), err.message);
        for (const char *c = err.message; *c; c++)
            assert_in_range((unsigned char)*c, 0x20, 0x7e);
    }
}

/* A number that JSON does not have is an error of its field. */
static void test_not_a_number(void **state)
{
    (void)state;
    static const struct {
        const char *json, *pointer, *detail;
    } cases[] = {
        {"{\"loss\":{\"class_weight\":NaN}}", "/loss/class_weight", "\"NaN\" is not a number"},
        {"{\"train\":{\"lr\":-Infinity}}", "/train/lr", "\"-Infinity\" is not a number"},
        {"{\"name\":\"NaN \\\"NaN\\\\\",\"train\":{\"lr\": Infinity }}", "/train/lr",
         "\"Infinity\""},
        {"{\"train\":{\"seed_data\":NaN}}", "/train/seed_data", "\"NaN\""},
        {"{\"train\":{\"lr\":-NaN}}", "/train/lr", "\"-NaN\""},
        {"{\"train\":{\"lr\":nan}}", "/train/lr", "\"nan\""},
        {"{\"train\":{\"lr\":-inf}}", "/train/lr", "\"-inf\""},
        {"{\"train\":{\"lr\":1e999}}", "/train/lr", "\"1e999\" is not a number"},
        {"{\"train\":{\"lr\":-1e999,\"seed\":9223372036854775807}}", "/train/lr", "\"-1e999\""},
        {"{\"train\":{\"seed\":99999999999999999999}}", "/train/seed", "\"99999999999999999999\""},
        {"{\"train\":{\"snapshots\":[1,9223372036854775808]}}", "/train/snapshots/1",
         "\"9223372036854775808\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spec *spec;
        struct err err = ERR_INIT;
        assert_int_equal(parse(cases[i].json, &spec, &err), -1);
        assert_null(spec);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.fields[0].pointer, cases[i].pointer);
        assert_non_null(strstr(err.fields[0].detail, cases[i].detail));
    }
}

/* The shortest digits that read back to the same bits, at every depth. */
static void test_digits_in_depth(void **state)
{
    (void)state;
    struct spec *spec = must_parse("{\"data\":{\"oversample\":{\"group\":\"least_common\","
                                   "\"factor\":1.1000000000000003}}}");
    char *text = spec_print(spec);
    assert_non_null(strstr(text, "\"factor\":1.1000000000000003"));
    struct spec *again = must_parse(text);
    assert_true(again->data.oversample_factor == spec->data.oversample_factor);
    free(text);
    spec_free(again);
    spec_free(spec);
}

static void test_size_and_depth(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    char *json = malloc(SPEC_BYTES_MAX + 1);
    assert_non_null(json);
    memset(json, ' ', SPEC_BYTES_MAX + 1);
    memcpy(json, "{}", 2);
    assert_int_equal(spec_parse(json, SPEC_BYTES_MAX, &spec, &err), 0);
    spec_free(spec);
    assert_int_equal(spec_parse(json, SPEC_BYTES_MAX + 1, &spec, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    memset(json, '[', DEPTH);
    assert_int_equal(spec_parse(json, DEPTH, &spec, &err), -1);
    assert_int_equal(err.code, ERR_MALFORMED);
    free(json);
    spec_free(NULL);
}

/* Every proper prefix of a complete spec is malformed: no crash, no leak. */
static void test_prefixes(void **state)
{
    (void)state;
    struct spec *spec = spec_default(), *out = NULL;
    char *text = spec_print(spec);
    for (size_t n = 0; n < strlen(text); n++) {
        struct err err = ERR_INIT;
        assert_int_equal(spec_parse(text, n, &out, &err), -1);
        assert_int_equal(err.code, ERR_MALFORMED);
    }
    free(text);
    spec_free(spec);
}

static void test_long_keys(void **state)
{
    (void)state;
    struct spec *spec;
    struct err err = ERR_INIT;
    for (int shift = 0; shift < 4; shift++) {
        char json[512];
        snprintf(json, sizeof json, "{\"%.*s", shift, "~a/");
        for (int i = 0; i < 60; i++)
            strcat(json, "\u00e9\u20ac");
        strcat(json, "\":1}");
        assert_int_equal(parse(json, &spec, &err), -1);
        assert_true(strlen(err.fields[0].pointer) >= ERR_POINTER_MAX - 4);
        /* Cut between characters: the pointer is still valid UTF-8. */
        json_t *value = json_string(err.fields[0].pointer);
        assert_non_null(value);
        json_decref(value);
    }
}

static void test_diff(void **state)
{
    (void)state;
    struct spec *a = must_parse("{\"name\":\"a\",\"tags\":[\"x\"],\"notes\":\"n\"}");
    struct spec *b = must_parse(
        "{\"train\":{\"seed\":2,\"lr\":0.002},\"model\":{\"logit_scale\":\"inv_sqrt_d\"},"
        "\"groups\":{\"custom\":[{\"name\":\"y\",\"tokens\":[1]}]}}");
    char *difference = spec_diff(a, b);
    assert_string_equal(
        difference, "[\"/model/logit_scale\",\"/train/lr\",\"/train/seed\",\"/groups/custom\"]");
    free(difference);
    spec_free(a);
    spec_free(b);
}

/* A preset's text, zero-terminated. */
static char *read_preset(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "config/presets/%s.json", name);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, in) > 0);
    fclose(in);
    return text;
}

static void test_presets(void **state)
{
    (void)state;
    static const struct {
        const char *name, *differs; /* from the defaults */
    } presets[] = {
        {"gulliver", "[]"},
        {"synthetic-control", "[\"/corpus/id\"]"},
        {"shuffled-control", "[\"/corpus/shuffled\"]"},
        {"gulliver-study",
         "[\"/corpus/variant\",\"/model/d_model\",\"/model/n_layers\",\"/model/n_heads\","
         "\"/model/seq_len\",\"/model/tie\",\"/model/logit_scale\",\"/model/position_std\","
         "\"/train/batch_size\"]"},
        {"gulliver-published-2025", NULL},
        {"gulliver-published-2026", NULL},
    };
    struct spec *defaults = spec_default();
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        char *text = read_preset(presets[i].name);
        struct spec *spec = must_parse(text);
        assert_string_equal(spec->name, presets[i].name);
        assert_true(strlen(spec->notes) > 40);
        check_round_trip(spec);
        char *difference = spec_diff(defaults, spec), *printed = spec_print(spec);
        if (presets[i].differs)
            assert_string_equal(difference, presets[i].differs);
        /* Complete: nothing is left to a default. */
        json_t *file = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        json_t *whole = json_loads(printed, 0, NULL);
        assert_true(json_equal(file, whole));
        json_decref(file);
        json_decref(whole);
        free(printed);
        free(difference);
        spec_free(spec);
        free(text);
    }
    spec_free(defaults);
}

static void test_published_presets_follow_the_study(void **state)
{
    (void)state;
    char *study_text = read_preset("gulliver-study");
    struct spec *study = must_parse(study_text);
    for (int year = 2025; year <= 2026; year++) {
        char name[64];
        snprintf(name, sizeof name, "gulliver-published-%d", year);
        char *text = read_preset(name);
        struct spec *spec = must_parse(text);
        char *difference = spec_diff(study, spec);
        assert_string_equal(difference,
                            "[\"/groups/selection\",\"/groups/ties\",\"/groups/mask\"]");
        assert_int_equal(spec->groups.selection,
                         year == 2025 ? SELECTION_PUBLISHED_2025 : SELECTION_PUBLISHED_2026);
        assert_int_equal(spec->groups.mask, MASK_POSITIONS);
        free(difference);
        spec_free(spec);
        free(text);
    }
    spec_free(study);
    free(study_text);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(spec_mask_name(MASK_WINDOWS), "windows");
    assert_string_equal(spec_precision_name(PRECISION_BF16), "bf16");
    assert_string_equal(spec_variant_name(VARIANT_BODY), "body");
}

/* A client that tells real numbers from integers sees the kind of the field. */
static void test_printed_numbers(void **state)
{
    (void)state;
    struct spec *spec =
        must_parse("{\"train\":{\"lr\":1e-8,\"eps\":1e-30,\"weight_decay\":1e30,\"momentum\":0},"
                   "\"loss\":{\"z_loss\":1000,\"class_weight\":0.1}}");
    static const char *const printed[] = {"\"lr\":1e-8,",           "\"eps\":1e-30,",
                                          "\"weight_decay\":1e30,", "\"momentum\":0.0,",
                                          "\"z_loss\":1000.0}",     "\"class_weight\":0.1,",
                                          "\"batch_size\":8,"};
    char *text = spec_print(spec);
    for (size_t i = 0; i < sizeof printed / sizeof *printed; i++)
        if (!strstr(text, printed[i]))
            fail_msg("%s is not in %s", printed[i], text);
    free(text);
    spec_free(spec);
}

/* What sweeps store: any JSON, of any depth. */
static void test_dumped_json(void **state)
{
    (void)state;
    enum { DEPTH = 200 };
    char deep[2 * DEPTH + 1] = "";
    memset(deep, '[', DEPTH);
    memset(deep + DEPTH, ']', DEPTH);
    const char *const texts[] = {
        "{\"a\":[1,-2.5,1.0,1e-8,true,null],\"b \\\"\":{},\"\xc3\xbc\":\"x\\n\"}", deep, "0.1",
        "\"\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        char *text = spec_dumps(value);
        assert_string_equal(text, texts[i]);
        free(text);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_integer_limits),
        cmocka_unit_test(test_real_limits),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_custom_groups),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_remedies),
        cmocka_unit_test(test_inject_is_resolved),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_many_errors_are_counted),
        cmocka_unit_test(test_mark_and_zeros),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_digits_in_depth),
        cmocka_unit_test(test_size_and_depth),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_published_presets_follow_the_study),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_printed_numbers),
        cmocka_unit_test(test_dumped_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
