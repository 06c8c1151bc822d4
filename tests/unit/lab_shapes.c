/* Parameter tables: names, order and sizes of GPT-2's tensors, no gaps, padded
 * vocabulary kept out of the file's sizes, and the options that add tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lab/shapes.h"

static const struct spec gpt2 = {
    .model = {.d_model = 768, .n_layers = 12, .n_heads = 12, .seq_len = 1024, .tie = TIE_TIED}};

static struct shapes build(const struct spec *spec, int vocab)
{
    struct shapes shapes;
    struct err err = ERR_INIT;
    assert_int_equal(shapes_build(spec, vocab, &shapes, &err), 0);
    return shapes;
}

static int64_t file_elements(const struct shapes *shapes)
{
    int64_t n = 0;
    for (int i = 0; i < shapes->n_tensors; i++)
        n += shapes->tensor[i].file_rows * shapes->tensor[i].cols;
    return n;
}

static void published_parameter_counts(void **state)
{
    (void)state;
    /* GPT-2 small, medium, large and xl as released (Hugging Face's num_parameters). */
    static const struct {
        int d_model, n_layers;
        int64_t n;
    } cases[] = {
        {768, 12, 124439808}, {1024, 24, 354823168}, {1280, 36, 774030080}, {1600, 48, 1557611200}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = gpt2;
        spec.model.d_model = cases[i].d_model;
        spec.model.n_layers = cases[i].n_layers;
        struct shapes shapes = build(&spec, 50257);
        assert_int_equal(file_elements(&shapes), cases[i].n);
        assert_int_equal(shapes.n_parameters, cases[i].n + 47 * cases[i].d_model);
        shapes_free(&shapes);
    }
}

static void names_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum shapes_kind kind;
        int64_t rows, cols, file_rows;
    } want[] = {
        {"transformer.wte.weight", SHAPES_TOKEN_EMBEDDING, 128, 8, 101},
        {"transformer.wpe.weight", SHAPES_POSITION_EMBEDDING, 5, 8, 5},
        {"transformer.h.0.ln_1.weight", SHAPES_GAIN, 1, 8, 1},
        {"transformer.h.0.ln_1.bias", SHAPES_BIAS, 1, 8, 1},
        {"transformer.h.0.attn.c_attn.weight", SHAPES_WEIGHT, 8, 24, 8},
        {"transformer.h.0.attn.c_attn.bias", SHAPES_BIAS, 1, 24, 1},
        {"transformer.h.0.attn.c_proj.weight", SHAPES_WEIGHT, 8, 8, 8},
        {"transformer.h.0.attn.c_proj.bias", SHAPES_BIAS, 1, 8, 1},
        {"transformer.h.0.ln_2.weight", SHAPES_GAIN, 1, 8, 1},
        {"transformer.h.0.ln_2.bias", SHAPES_BIAS, 1, 8, 1},
        {"transformer.h.0.mlp.c_fc.weight", SHAPES_WEIGHT, 8, 32, 8},
        {"transformer.h.0.mlp.c_fc.bias", SHAPES_BIAS, 1, 32, 1},
        {"transformer.h.0.mlp.c_proj.weight", SHAPES_WEIGHT, 32, 8, 32},
        {"transformer.h.0.mlp.c_proj.bias", SHAPES_BIAS, 1, 8, 1},
        {"transformer.ln_f.weight", SHAPES_GAIN, 1, 8, 1},
        {"transformer.ln_f.bias", SHAPES_BIAS, 1, 8, 1},
        {"lm_head.weight", SHAPES_UNEMBEDDING, 128, 8, 101},
        {"lm_head.bias", SHAPES_HEAD_BIAS, 128, 1, 101},
    };
    struct spec spec = {.model = {.d_model = 8,
                                  .n_layers = 1,
                                  .n_heads = 2,
                                  .seq_len = 5,
                                  .tie = TIE_UNTIED_EQUAL,
                                  .head_bias = 1}};
    struct shapes shapes = build(&spec, 101);
    assert_int_equal(shapes.vocab, 101);
    assert_int_equal(shapes.vocab_padded, 128);
    assert_int_equal(shapes.n_tensors, sizeof want / sizeof *want);
    for (int i = 0; i < shapes.n_tensors; i++) {
        assert_string_equal(shapes.tensor[i].name, want[i].name);
        assert_int_equal(shapes.tensor[i].kind, want[i].kind);
        assert_int_equal(shapes.tensor[i].rows, want[i].rows);
        assert_int_equal(shapes.tensor[i].cols, want[i].cols);
        assert_int_equal(shapes.tensor[i].file_rows, want[i].file_rows);
    }
    shapes_free(&shapes);
}

/* The head's softmax has an entry for each further cluster; a narrow model keeps at
 * least 8 numbers a row. */
static void adaptive_head(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum shapes_kind kind;
        int64_t rows, cols, file_rows;
    } want[] = {
        {"lm_head.head.weight", SHAPES_UNEMBEDDING, 64, 96, 32},
        {"lm_head.tail.0.projection", SHAPES_WEIGHT, 96, 24, 96},
        {"lm_head.tail.0.weight", SHAPES_UNEMBEDDING, 128, 24, 70},
        {"lm_head.tail.1.projection", SHAPES_WEIGHT, 96, 8, 96},
        {"lm_head.tail.1.weight", SHAPES_UNEMBEDDING, 960, 8, 901},
    };
    struct spec spec = gpt2;
    spec.model.d_model = 96;
    spec.model.n_layers = 1;
    spec.model.tie = TIE_UNTIED;
    spec.model.head = HEAD_ADAPTIVE;
    spec.model.n_cutoffs = 2;
    spec.model.cutoffs[0] = 30;
    spec.model.cutoffs[1] = 100;
    struct shapes shapes = build(&spec, 1001);
    assert_int_equal(shapes.clusters.n, 3);
    const int n = sizeof want / sizeof *want, first = shapes.n_tensors - n;
    assert_string_equal(shapes.tensor[first - 1].name, "transformer.ln_f.bias");
    for (int i = 0; i < n; i++) {
        const struct shapes_tensor *t = &shapes.tensor[first + i];
        assert_string_equal(t->name, want[i].name);
        assert_int_equal(t->kind, want[i].kind);
        assert_int_equal(t->rows, want[i].rows);
        assert_int_equal(t->cols, want[i].cols);
        assert_int_equal(t->file_rows, want[i].file_rows);
        assert_int_equal(t->offset, t[-1].offset + t[-1].rows * t[-1].cols);
    }
    shapes_free(&shapes);
}

static void offsets_without_gaps(void **state)
{
    (void)state;
    struct spec spec = gpt2;
    spec.model.tie = TIE_UNTIED;
    struct shapes shapes = build(&spec, 50257);
    int64_t offset = 0;
    for (int i = 0; i < shapes.n_tensors; i++) {
        assert_int_equal(shapes.tensor[i].offset, offset);
        offset += shapes.tensor[i].rows * shapes.tensor[i].cols;
        assert_int_equal(shapes_find(&shapes, shapes.tensor[i].name), i);
    }
    assert_int_equal(shapes.n_parameters, offset);
    shapes_free(&shapes);
}

static void options_add_tensors(void **state)
{
    (void)state;
    for (int tie = TIE_TIED; tie <= TIE_UNTIED_EQUAL; tie++)
        for (int bias = 0; bias < 2; bias++) {
            struct spec spec = gpt2;
            spec.model.tie = (enum spec_tying)tie;
            spec.model.head_bias = bias;
            struct shapes shapes = build(&spec, 256);
            assert_int_equal(shapes.n_tensors, 4 + 12 * 12 + (tie != TIE_TIED) + bias);
            assert_int_equal(shapes_find(&shapes, "lm_head.weight") >= 0, tie != TIE_TIED);
            assert_int_equal(shapes_find(&shapes, "lm_head.bias") >= 0, bias);
            assert_int_equal(shapes.vocab_padded, 256);
            assert_true(shapes_find(&shapes, "transformer.h.11.mlp.c_fc.weight") > 0);
            assert_int_equal(shapes_find(&shapes, "transformer.h.12.mlp.c_fc.weight"), -1);
            shapes_free(&shapes);
        }
}

static void free_is_harmless(void **state)
{
    (void)state;
    shapes_free(NULL);
    struct shapes shapes = build(&gpt2, 10);
    shapes_free(&shapes);
    assert_null(shapes.tensor);
    shapes_free(&shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_parameter_counts),
        cmocka_unit_test(names_in_order),
        cmocka_unit_test(adaptive_head),
        cmocka_unit_test(offsets_without_gaps),
        cmocka_unit_test(options_add_tensors),
        cmocka_unit_test(free_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
