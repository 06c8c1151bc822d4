/* gpu_safetensors: the file read back by an independent reader (jansson for the
 * header): names and shapes of Hugging Face's GPT-2, data that follow each other
 * without a gap, no padding rows, the logit scale in ln_f and nowhere else; matrices of
 * one row; and a full disk leaves nothing behind. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gpu/safetensors.h"

enum { V = 67 }; /* padded to 128 */

static char dir[64];

struct file {
    unsigned char *bytes;
    size_t n, data; /* data: where the numbers start */
    json_t *header;
};

static void read_file(const char *name, struct file *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    file->n = (size_t)ftell(in);
    rewind(in);
    file->bytes = malloc(file->n);
    assert_non_null(file->bytes);
    assert_int_equal(fread(file->bytes, 1, file->n, in), file->n);
    fclose(in);
}

static void read_tensors(const char *name, struct file *file)
{
    uint64_t length;
    read_file(name, file);
    memcpy(&length, file->bytes, 8);
    assert_true(length < file->n);
    assert_int_equal(length % 8, 0);
    assert_int_equal(file->bytes[8], '{');
    file->data = 8 + length;
    file->header = json_loadb((const char *)file->bytes + 8, length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(file->header);
}

static void close_file(struct file *file)
{
    json_decref(file->header);
    free(file->bytes);
}

static struct spec *parse(const char *json)
{
    struct err err = ERR_INIT;
    struct spec *spec = NULL;
    if (spec_parse(json, strlen(json), &spec, &err) != 0)
        fail_msg("%s", err.message);
    return spec;
}

/* Parameter k is k + 0.5; padding is poison. */
static float *make_parameters(const struct shapes *shapes)
{
    float *parameters = malloc((size_t)shapes->n_parameters * sizeof *parameters);
    assert_non_null(parameters);
    for (int i = 0; i < shapes->n_tensors; i++) {
        const struct shapes_tensor *t = &shapes->tensor[i];
        for (int64_t k = 0; k < t->rows * t->cols; k++)
            parameters[t->offset + k] =
                k < t->file_rows * t->cols ? (float)(t->offset + k) + 0.5f : -1e30f;
    }
    return parameters;
}

/* One tensor as [rows, cols] (rows 0: a vector), first number, scale. */
static void check_tensor(const struct file *file, const char *name, int rows, int cols,
                         double first, double scale, size_t *used)
{
    json_t *tensor = json_object_get(file->header, name);
    if (!tensor)
        fail_msg("%s is missing", name);
    json_t *shape = json_object_get(tensor, "shape");
    json_t *offsets = json_object_get(tensor, "data_offsets");
    assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "F32");
    assert_int_equal(json_array_size(shape), rows ? 2 : 1);
    if (rows)
        assert_int_equal(json_integer_value(json_array_get(shape, 0)), rows);
    assert_int_equal(json_integer_value(json_array_get(shape, rows ? 1 : 0)), cols);
    size_t from = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t to = (size_t)json_integer_value(json_array_get(offsets, 1));
    size_t n = (size_t)(rows ? rows : 1) * (size_t)cols;
    assert_int_equal(to - from, n * 4);
    assert_true(file->data + to <= file->n);
    for (size_t k = 0; k < n; k++) {
        float number;
        memcpy(&number, file->bytes + file->data + from + 4 * k, 4);
        float want = (float)((first + (double)k + 0.5) * scale);
        if (number != want)
            fail_msg("%s[%zu] is %g, should be %g", name, k, (double)number, (double)want);
    }
    *used += n * 4;
}

static double offset_of(const struct shapes *shapes, const char *name)
{
    int i = shapes_find(shapes, name);
    if (i < 0)
        fail_msg("no tensor %s", name);
    return (double)shapes->tensor[i].offset;
}

/* GPT2LMHeadModel's parameters for d 8, 2 layers, 5 positions. */
static void check_model(const struct file *file, const struct shapes *shapes, double scale,
                        int untied, int bias)
{
    static const struct {
        const char *name;
        int rows, cols;
    } of_layer[] = {
        {"ln_1.weight", 0, 8},       {"ln_1.bias", 0, 8},          {"attn.c_attn.weight", 8, 24},
        {"attn.c_attn.bias", 0, 24}, {"attn.c_proj.weight", 8, 8}, {"attn.c_proj.bias", 0, 8},
        {"ln_2.weight", 0, 8},       {"ln_2.bias", 0, 8},          {"mlp.c_fc.weight", 8, 32},
        {"mlp.c_fc.bias", 0, 32},    {"mlp.c_proj.weight", 32, 8}, {"mlp.c_proj.bias", 0, 8},
    };
    size_t used = 0, n = json_object_size(file->header) - 1;
    assert_int_equal(n, 2 + 2 * 12 + 2 + untied + bias);
    const char *name = "transformer.wte.weight";
    check_tensor(file, name, V, 8, offset_of(shapes, name), 1, &used);
    name = "transformer.wpe.weight";
    check_tensor(file, name, 5, 8, offset_of(shapes, name), 1, &used);
    for (int layer = 0; layer < 2; layer++)
        for (int i = 0; i < 12; i++) {
            char full[SHAPES_NAME_MAX];
            snprintf(full, sizeof full, "transformer.h.%d.%s", layer, of_layer[i].name);
            check_tensor(file, full, of_layer[i].rows, of_layer[i].cols, offset_of(shapes, full), 1,
                         &used);
        }
    name = "transformer.ln_f.weight";
    check_tensor(file, name, 0, 8, offset_of(shapes, name), scale, &used);
    name = "transformer.ln_f.bias";
    check_tensor(file, name, 0, 8, offset_of(shapes, name), scale, &used);
    if (untied)
        check_tensor(file, "lm_head.weight", V, 8, offset_of(shapes, "lm_head.weight"), 1, &used);
    if (bias)
        check_tensor(file, "lm_head.bias", 0, V, offset_of(shapes, "lm_head.bias"), 1, &used);
    assert_int_equal(file->data + used, file->n);
}

static void check_spec(const char *json, double scale, int untied, int bias)
{
    struct err err = ERR_INIT;
    struct shapes shapes;
    struct file file = {0}, again = {0};
    struct spec *spec = parse(json);
    assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
    float *parameters = make_parameters(&shapes);
    assert_int_equal(safetensors_write(dir, 12, spec, &shapes, parameters, NULL, &err), 0);
    read_tensors("epoch-0000012.safetensors", &file);
    json_t *metadata = json_object_get(file.header, "__metadata__");
    assert_string_equal(json_string_value(json_object_get(metadata, "format")), "pt");
    assert_int_equal(bias, json_object_get(metadata, "note") != NULL);
    check_model(&file, &shapes, scale, untied, bias);

    assert_int_equal(safetensors_write(dir, 12, spec, &shapes, parameters, NULL, &err), 0);
    read_tensors("epoch-0000012.safetensors", &again);
    assert_int_equal(again.n, file.n);
    assert_memory_equal(again.bytes, file.bytes, file.n);
    close_file(&again);
    close_file(&file);
    free(parameters);
    shapes_free(&shapes);
    spec_free(spec);
}

#define SMALL "\"d_model\": 8, \"n_layers\": 2, \"n_heads\": 2, \"seq_len\": 5"

static void test_tied(void **state)
{
    (void)state;
    check_spec("{\"model\": {" SMALL "}}", 1, 0, 0);
}

static void test_untied_scaled_with_bias(void **state)
{
    (void)state;
    check_spec("{\"model\": {" SMALL ", \"tie\": \"untied\", \"logit_scale\": 0.25,"
               "\"head_bias\": true}}",
               0.25, 1, 1);
}

static void test_config(void **state)
{
    (void)state;
    static const struct {
        const char *activation, *tie;
    } cases[] = {{"gelu", "tied"}, {"gelu_new", "untied"}, {"relu", "untied_equal"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[256];
        struct err err = ERR_INIT;
        struct shapes shapes;
        struct file file = {0};
        snprintf(json, sizeof json,
                 "{\"model\": {" SMALL ", \"activation\": \"%s\", \"tie\": \"%s\"}}",
                 cases[i].activation, cases[i].tie);
        struct spec *spec = parse(json);
        int32_t original[V];
        for (int id = 0; id < V; id++)
            original[id] = 2 * id + 1;
        assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
        assert_int_equal(
            safetensors_write_config(dir, spec, &shapes, i == 1 ? original : NULL, &err), 0);
        read_file("config.json", &file);
        file.header = json_loadb((const char *)file.bytes, file.n, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(file.header);
        static const struct {
            const char *key;
            int value;
        } numbers[] = {
            {"vocab_size", V}, {"n_positions", 5}, {"n_embd", 8}, {"n_layer", 2}, {"n_head", 2}};
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            assert_int_equal(json_integer_value(json_object_get(file.header, numbers[k].key)),
                             numbers[k].value);
        assert_string_equal(json_string_value(json_object_get(file.header, "activation_function")),
                            cases[i].activation);
        assert_int_equal(json_is_true(json_object_get(file.header, "tie_word_embeddings")), i == 0);
        const json_t *ids = json_object_get(file.header, "tokenfate_vocabulary");
        assert_int_equal(json_array_size(ids), i == 1 ? V : 0);
        for (int id = 0; id < V && i == 1; id++)
            assert_int_equal(json_integer_value(json_array_get(ids, (size_t)id)), 2 * id + 1);
        close_file(&file);
        shapes_free(&shapes);
        spec_free(spec);
    }
}

static void test_disk_full(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct shapes shapes;
    struct spec *spec = parse("{\"model\": {" SMALL "}}");
    assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
    float *parameters = make_parameters(&shapes);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = safetensors_write(dir, 3, spec, &shapes, parameters, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, "epoch-0000003.safetensors"));
    assert_int_equal(rmdir(dir), 0); /* empty: no file was left */
    free(parameters);
    shapes_free(&shapes);
    spec_free(spec);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/gpu_safetensors.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"epoch-0000012.safetensors", "config.json"};
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}

/* What was written comes back, padding aside; another shape, a torn file and no
 * file are refused. */
static void test_read_back(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct shapes shapes, other;
    char path[128];
    struct spec *spec =
        parse("{\"model\": {" SMALL ", \"tie\": \"untied\", \"logit_scale\": 0.25}}");
    assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
    float *written = make_parameters(&shapes);
    float *read = malloc((size_t)shapes.n_parameters * sizeof *read);
    assert_non_null(read);
    assert_int_equal(safetensors_write(dir, 12, spec, &shapes, written, NULL, &err), 0);
    snprintf(path, sizeof path, "%s/epoch-0000012.safetensors", dir);
    assert_int_equal(safetensors_read(path, spec, &shapes, read, NULL, &err), 0);
    for (int i = 0; i < shapes.n_tensors; i++) {
        const struct shapes_tensor *t = &shapes.tensor[i];
        for (int64_t k = 0; k < t->rows * t->cols; k++)
            assert_true(read[t->offset + k] ==
                        (k < t->file_rows * t->cols ? written[t->offset + k] : 0));
    }
    assert_int_equal(shapes_build(spec, V + 1, &other, &err), 0);
    assert_int_equal(safetensors_read(path, spec, &other, read, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.message, "transformer.wte.weight of 68 x 8"));
    assert_int_equal(truncate(path, 3000), 0);
    assert_int_equal(safetensors_read(path, spec, &shapes, read, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(safetensors_read(path, spec, &shapes, read, NULL, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    free(read);
    free(written);
    shapes_free(&shapes);
    shapes_free(&other);
    spec_free(spec);
}

/* An adaptive head's rows and the tokens that they are of come back together. */
static void test_adaptive(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct shapes shapes;
    char path[128];
    int32_t order[V], found[V];
    struct spec *spec = parse("{\"model\": {" SMALL ", \"tie\": \"untied\", \"head\": \"adaptive\","
                              "\"cutoffs\": [5, 20]}}");
    assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
    float *written = make_parameters(&shapes);
    float *read = malloc((size_t)shapes.n_parameters * sizeof *read);
    assert_non_null(read);
    for (int i = 0; i < V; i++)
        order[i] = i * 3 % V;
    assert_int_equal(safetensors_write(dir, 12, spec, &shapes, written, order, &err), 0);
    snprintf(path, sizeof path, "%s/epoch-0000012.safetensors", dir);
    assert_int_equal(safetensors_read(path, spec, &shapes, read, found, &err), 0);
    assert_memory_equal(found, order, sizeof order);
    for (int i = 0; i < shapes.n_tensors; i++) {
        const struct shapes_tensor *t = &shapes.tensor[i];
        assert_memory_equal(read + t->offset, written + t->offset,
                            (size_t)(t->file_rows * t->cols) * sizeof *read);
    }
    struct file file;
    read_tensors("epoch-0000012.safetensors", &file);
    const json_t *entry = json_object_get(file.header, "lm_head.order");
    assert_string_equal(json_string_value(json_object_get(entry, "dtype")), "I32");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 1)),
                     file.n - file.data);
    assert_non_null(strstr(
        json_string_value(json_object_get(json_object_get(file.header, "__metadata__"), "note")),
        "adaptive softmax"));
    const off_t whole = (off_t)file.n;
    close_file(&file);
    assert_int_equal(safetensors_write_config(dir, spec, &shapes, NULL, &err), 0);
    read_file("config.json", &file);
    json_t *config = json_loadb((const char *)file.bytes, file.n, 0, NULL);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(config, "architectures"), 0)),
        "GPT2Model");
    json_decref(config);
    free(file.bytes);
    assert_int_equal(truncate(path, whole - 4), 0);
    assert_int_equal(safetensors_read(path, spec, &shapes, read, found, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(strstr(err.message, "lm_head.order"));
    free(read);
    free(written);
    shapes_free(&shapes);
    spec_free(spec);
}

/* Every tensor of the header that `wanted` names has that shape (rows 0: a vector). */
struct wanted {
    const char *name;
    int rows, cols;
};

static void check_shapes(const struct file *file, const struct wanted *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *shape =
            json_object_get(json_object_get(file->header, wanted[i].name), "shape");
        if (json_array_size(shape) != (wanted[i].rows ? 2 : 1))
            fail_msg("%s has %zu dimensions", wanted[i].name, json_array_size(shape));
        if (wanted[i].rows)
            assert_int_equal(json_integer_value(json_array_get(shape, 0)), wanted[i].rows);
        assert_int_equal(json_integer_value(json_array_get(shape, wanted[i].rows ? 1 : 0)),
                         wanted[i].cols);
    }
}

static void check_written(const char *json, const struct wanted *wanted, size_t n)
{
    struct err err = ERR_INIT;
    struct shapes shapes;
    struct file file = {0};
    char path[128];
    int32_t order[V] = {0};
    struct spec *spec = parse(json);
    const int adaptive = spec->model.head == HEAD_ADAPTIVE;
    assert_int_equal(shapes_build(spec, V, &shapes, &err), 0);
    float *written = make_parameters(&shapes);
    float *read = calloc((size_t)shapes.n_parameters, sizeof *read);
    assert_non_null(read);
    assert_int_equal(
        safetensors_write(dir, 12, spec, &shapes, written, adaptive ? order : NULL, &err), 0);
    read_tensors("epoch-0000012.safetensors", &file);
    check_shapes(&file, wanted, n);
    snprintf(path, sizeof path, "%s/epoch-0000012.safetensors", dir);
    if (safetensors_read(path, spec, &shapes, read, adaptive ? order : NULL, &err) != 0)
        fail_msg("%s", err.message);
    close_file(&file);
    free(read);
    free(written);
    shapes_free(&shapes);
    spec_free(spec);
}

/* A matrix of one row or column is a matrix: GPT-2's loaders compare ranks. */
static void test_one_dimension(void **state)
{
    (void)state;
    static const struct wanted full[] = {
        {"transformer.wte.weight", V, 1},
        {"transformer.wpe.weight", 1, 1},
        {"transformer.h.0.ln_1.weight", 0, 1},
        {"transformer.h.0.ln_1.bias", 0, 1},
        {"transformer.h.0.attn.c_attn.weight", 1, 3},
        {"transformer.h.0.attn.c_attn.bias", 0, 3},
        {"transformer.h.0.attn.c_proj.weight", 1, 1},
        {"transformer.h.0.attn.c_proj.bias", 0, 1},
        {"transformer.h.0.ln_2.weight", 0, 1},
        {"transformer.h.0.mlp.c_fc.weight", 1, 4},
        {"transformer.h.0.mlp.c_fc.bias", 0, 4},
        {"transformer.h.0.mlp.c_proj.weight", 4, 1},
        {"transformer.h.0.mlp.c_proj.bias", 0, 1},
        {"transformer.ln_f.weight", 0, 1},
        {"lm_head.weight", V, 1},
        {"lm_head.bias", 0, V},
    };
    static const struct wanted adaptive[] = {
        {"lm_head.head.weight", 7, 1},       {"lm_head.tail.0.projection", 1, 1},
        {"lm_head.tail.0.weight", V - 6, 1}, {"lm_head.tail.1.projection", 1, 1},
        {"lm_head.tail.1.weight", 1, 1},
    };
#define ONE "\"d_model\": 1, \"n_layers\": 1, \"n_heads\": 1, \"seq_len\": 1"
    check_written("{\"model\": {" ONE ", \"tie\": \"untied\", \"head_bias\": true}}", full,
                  sizeof full / sizeof *full);
    check_written("{\"model\": {" ONE ", \"tie\": \"untied\", \"head\": \"adaptive\","
                  "\"cutoffs\": [5, 66]}}",
                  adaptive, sizeof adaptive / sizeof *adaptive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_untied_scaled_with_bias, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_adaptive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_dimension, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_config, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_disk_full, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
