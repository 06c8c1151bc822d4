/* Fuzzes the parser of experiments: any bytes are refused as malformed or
 * invalid with a reason, or give a spec that prints and parses to itself. */
#include <string.h>

#include "config/spec.h"
#include "tests/fuzz/seed.h"

/* Appended to only: the spelled seeds below count on the order. */
/* clang-format off */
static const char *const words[] = {
    "{", "}", "[", "]", ",", "0", "1", "-1", "0.5", "1e-3", "1e308", "64", "9007199254740991",
    "null", "true", "false", "\"\"", "\"gulliver\"", "\"pass\"", "\"inv_sqrt_d\"", "\"name\":",
    "\"notes\":", "\"tags\":", "\"corpus\":", "\"model\":", "\"train\":", "\"groups\":",
    "\"resources\":", "\"id\":", "\"variant\":", "\"body\"", "\"shuffled\":", "\"d_model\":",
    "\"n_heads\":", "\"n_layers\":", "\"seq_len\":", "\"tie\":", "\"untied\"", "\"logit_scale\":",
    "\"init_std\":", "\"epochs\":", "\"steps_per_epoch\":", "\"batch_size\":", "\"sampling\":",
    "\"shuffle\"", "\"optimizer\":", "\"sgd\"", "\"lr\":", "\"beta1\":", "\"grad_clip\":",
    "\"weight_decay\":", "\"seed\":", "\"seed_data\":", "\"snapshots\":", "\"size\":",
    "\"selection\":", "\"published-2025\"", "\"ties\":", "\"mask\":", "\"custom\":", "\"tokens\":",
    "\" Yahoo\"", "\"device\":", "\"cuda:1\"", "\"priority\":", "\"max_seconds\":",
    "\"max_attempts\":", "\"precision\":", "\"fp32\"", "\"init_from\":",
    "\"0b0a8f3e-5a5c-4b6c-9d5e-0123456789ab\"", "\"vocabulary\":", "\"used\"", "\"head\":",
    "\"adaptive\"", "\"cutoffs\":", "\"loss\":", "\"class_weight\":", "\"label_smoothing\":",
    "\"data\":", "\"oversample\":", "\"group\":", "\"factor\":", "\"least_common\"",
    "\"inject\":", "\"doses\":", "\"holdout\":", "\"eval\":", "\"windows\":", "\"every\":",
};
/* clang-format on */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const seeds[] = {
        "{}",
        "[]",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"model\":{\"d_model\":100,\"n_heads\":12,\"tie\":\"untied_equal\",\"logit_scale\":0.5}}",
        "{\"train\":{\"steps_per_epoch\":\"pass\",\"lr\":1e-3,\"seed_data\":null,"
        "\"snapshots\":[0,5,500],\"grad_clip\":null}}",
        "{\"data\":{\"oversample\":{\"group\":\"least_common\",\"factor\":2.5},\"inject\":{"
        "\"tokens\":3,\"doses\":[0,2],\"epochs\":[1,9]}}}",
        "{\"model\":{\"head\":\"adaptive\",\"cutoffs\":[9,99],\"tie\":\"untied\"},\"init_from\":"
        "null}",
        "{\"groups\":{\"custom\":[{\"name\":\"mine\",\"tokens\":[1,\" Yahoo\",50256]}]}}",
        "{\"corpus\":{\"id\":\"gulliver-synthetic\",\"variant\":\"body\",\"shuffled\":true},"
        "\"tags\":[\"a\",\"b\"]}",
        "wAYAaLEbGBB",
        "wAZAvCFDBB",
        "wAYAgTEefBB",
        "wAZAjSEnoEpIBB",
        "wA[A|CAURE}CGE~DBDBB"};
    int n = (int)(sizeof seeds / sizeof *seeds);
    for (int i = 0; i < n; i++)
        seed_write(*argc, *argv, i, seeds[i], strlen(seeds[i]));
    struct spec *spec = spec_default();
    char *text = spec != NULL ? spec_print(spec) : NULL;
    FUZZ_REQUIRE(text != NULL);
    seed_write(*argc, *argv, n, text, strlen(text));
    free(text);
    spec_free(spec);
    return 0;
}

static void check_refusal(const struct err *err)
{
    FUZZ_REQUIRE(err->code == ERR_MALFORMED || err->code == ERR_INVALID ||
                 err->code == ERR_TOO_LARGE);
    FUZZ_REQUIRE(err->message[0] != '\0');
    FUZZ_REQUIRE(err->n_fields >= 0 && err->n_fields <= ERR_FIELDS_MAX);
    FUZZ_REQUIRE(err->code != ERR_INVALID || err->n_fields > 0);
    for (int i = 0; i < err->n_fields; i++)
        FUZZ_REQUIRE(memchr(err->fields[i].detail, '\0', ERR_DETAIL_MAX) != NULL &&
                     memchr(err->fields[i].pointer, '\0', ERR_POINTER_MAX) != NULL);
}

/* Printing and parsing again changes nothing. */
static void check_round_trip(const struct spec *spec)
{
    struct err err = ERR_INIT;
    struct spec *again = NULL;
    char *text = spec_print(spec);
    FUZZ_REQUIRE(text != NULL);
    if (spec_parse(text, strlen(text), &again, &err) != 0) {
        fprintf(stderr, "%s\n%s\n", err.message, text);
        abort();
    }
    char *text_again = spec_print(again), *differences = spec_diff(spec, again);
    FUZZ_REQUIRE(text_again != NULL && strcmp(text, text_again) == 0);
    FUZZ_REQUIRE(differences != NULL && strcmp(differences, "[]") == 0);
    free(text);
    free(text_again);
    free(differences);
    spec_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = ERR_INIT;
    struct spec *spec = NULL;
    static char spelled[1 << 16];
    const void *bytes = data;
    if (n > 0 && data[0] == SEED_WORDS) {
        n = seed_spell(words, sizeof words / sizeof *words, data + 1, n - 1, spelled,
                       sizeof spelled);
        bytes = spelled;
    }
    char *copy = malloc(n + (n == 0)); /* exact, so that a read behind its end is seen */
    FUZZ_REQUIRE(copy != NULL);
    if (n > 0)
        memcpy(copy, bytes, n);
    if (spec_parse(copy, n, &spec, &err) != 0) {
        FUZZ_REQUIRE(spec == NULL);
        check_refusal(&err);
    } else {
        check_round_trip(spec);
    }
    spec_free(spec);
    free(copy);
    return 0;
}
