/* Memory of a job before it runs: the buffers of the largest possible job have exact sizes,
 * in order, aligned and disjoint; the total is the sum of its parts; every optimiser has its
 * moments. (gpu_model tests that a model allocates the total.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lab/memory.h"

enum {
    GPT2_VOCABULARY = 50257,
    PADDED = 50304,
    TRACKED = 3 * SPEC_GROUP_SIZE_MAX + SPEC_CUSTOM_MAX * SPEC_CUSTOM_TOKENS_MAX
};

static struct spec largest(void)
{
    return (struct spec){.resources = {.device = "auto"},
                         .model = {.d_model = SPEC_D_MODEL_MAX,
                                   .n_layers = SPEC_LAYERS_MAX,
                                   .n_heads = SPEC_HEADS_MAX,
                                   .seq_len = SPEC_SEQ_LEN_MAX,
                                   .tie = TIE_UNTIED},
                         .train = {.batch_size = SPEC_POSITIONS_MAX / SPEC_SEQ_LEN_MAX,
                                   .optimizer = OPTIMIZER_ADAMW}};
}

static void plan_of(const struct spec *spec, int real_bytes, int act_bytes,
                    struct memory_plan *plan)
{
    struct shapes shapes;
    struct err err = ERR_INIT;
    assert_int_equal(shapes_build(spec, GPT2_VOCABULARY, &shapes, &err), 0);
    memory_plan(spec, &shapes, SPEC_GROUPS_MAX, TRACKED, real_bytes, act_bytes,
                MEMORY_HEAD_CHUNK_CUDA, plan);
    shapes_free(&shapes);
}

static void largest_job(void **state)
{
    (void)state;
    const int64_t N = SPEC_POSITIONS_MAX, C = SPEC_D_MODEL_MAX, L = SPEC_LAYERS_MAX;
    const int64_t layer = 12 * C * C + 13 * C; /* products, their biases, two layernorms */
    const int64_t parameters = 2 * PADDED * C + SPEC_SEQ_LEN_MAX * C + L * layer + 2 * C;
    struct spec spec = largest();
    struct memory_plan plan;
    struct err err = ERR_INIT;
    plan_of(&spec, 4, 4, &plan);
    assert_int_equal(plan.parameters, 4 * parameters);
    assert_int_equal(plan.moments, 8 * parameters);
    assert_int_equal(plan.bytes[MEMORY_HIDDEN], 4 * L * N * 4 * C);
    assert_int_equal(plan.bytes[MEMORY_RESIDUAL], 4 * (2 * L + 1) * N * C);
    assert_int_equal(plan.bytes[MEMORY_ATTENTION_LSE], 4 * L * N * SPEC_HEADS_MAX);
    assert_int_equal(plan.bytes[MEMORY_LOGITS], 4 * (int64_t)MEMORY_HEAD_CHUNK_CUDA * PADDED);
    assert_true(plan.total > INT64_C(1) << 45);
    const struct groups groups = {.n = SPEC_GROUPS_MAX, .n_tokens = TRACKED};
    assert_int_equal(memory_bytes(&spec, PRECISION_FP32, GPT2_VOCABULARY, &groups, &err),
                     plan.total);
}

/* Either precision may need more memory: bfloat16 halves activations and keeps a second copy
 * of the weights. */
static void auto_is_the_larger(void **state)
{
    (void)state;
    const struct groups groups = {.n = 3, .n_tokens = TRACKED};
    struct spec spec = largest();
    struct err err = ERR_INIT;
    for (int windows = 1; windows <= 64; windows *= 64) {
        spec.model.d_model = 128;
        spec.model.n_layers = 2;
        spec.model.n_heads = 4;
        spec.model.seq_len = 64;
        spec.train.batch_size = windows;
        const int64_t fp32 = memory_bytes(&spec, PRECISION_FP32, GPT2_VOCABULARY, &groups, &err);
        const int64_t bf16 = memory_bytes(&spec, PRECISION_BF16, GPT2_VOCABULARY, &groups, &err);
        assert_true(windows == 1 ? bf16 > fp32 : fp32 > bf16);
        assert_int_equal(memory_bytes(&spec, PRECISION_AUTO, GPT2_VOCABULARY, &groups, &err),
                         fp32 > bf16 ? fp32 : bf16);
    }
}

/* A known device has its own chunk of logits; auto has the larger one. */
static void device_decides_the_chunk(void **state)
{
    (void)state;
    static const struct {
        const char *device;
        int chunk;
    } cases[] = {{"cpu", MEMORY_HEAD_CHUNK_CPU},
                 {"cuda", MEMORY_HEAD_CHUNK_CUDA},
                 {"cuda:1", MEMORY_HEAD_CHUNK_CUDA},
                 {"auto", MEMORY_HEAD_CHUNK_CUDA}};
    const struct groups groups = {.n = SPEC_GROUPS_MAX, .n_tokens = TRACKED};
    struct spec spec = largest();
    struct memory_plan plan;
    struct err err = ERR_INIT;
    plan_of(&spec, 4, 2, &plan);
    const int64_t without = plan.total - plan.bytes[MEMORY_LOGITS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(spec.resources.device, sizeof spec.resources.device, "%s", cases[i].device);
        assert_int_equal(memory_bytes(&spec, PRECISION_BF16, GPT2_VOCABULARY, &groups, &err),
                         without + 4 * (int64_t)cases[i].chunk * PADDED);
    }
}

/* A card needs memory beside the job: less once a process has it open. */
static void beside_a_job(void **state)
{
    (void)state;
    assert_int_equal(memory_beside("cpu", 0), 0);
    assert_int_equal(memory_beside("cuda", 1), MEMORY_CUDA_PROGRAMS);
    assert_int_equal(memory_beside("cuda", 0),
                     MEMORY_CUDA_PROGRAMS + MEMORY_CUDA_CONTEXT + MEMORY_CUDA_BACKEND);
}

static void buffers_lie_apart(void **state)
{
    (void)state;
    struct spec spec = largest();
    spec.model.tie = TIE_TIED;
    spec.model.d_model = 129; /* nothing is a multiple of the alignment by itself */
    spec.train.batch_size = 3;
    spec.model.seq_len = 7;
    struct memory_plan plan;
    plan_of(&spec, 4, 2, &plan);
    int64_t end = 0;
    for (int i = 0; i < MEMORY_BUFFERS; i++) {
        assert_true(plan.offset[i] >= end && plan.offset[i] < end + MEMORY_ALIGNMENT);
        assert_int_equal(plan.offset[i] % MEMORY_ALIGNMENT, 0);
        end = plan.offset[i] + plan.bytes[i];
    }
    assert_true(plan.activations >= end && plan.activations < end + MEMORY_ALIGNMENT);
    assert_int_equal(plan.bytes[MEMORY_INPUT_ROWS], 0); /* tied */
    assert_int_equal(plan.head_chunk, 21);              /* no more rows than positions */
    assert_int_equal(plan.copy, plan.parameters / 2);
    assert_int_equal(plan.total, plan.parameters + plan.copy + plan.gradients + plan.moments +
                                     plan.activations);
    /* The slot is a copy of the first buffers. */
    assert_int_equal(plan.slot % MEMORY_ALIGNMENT, 0);
    assert_true(plan.slot >= plan.offset[MEMORY_SQUARES] + 4);
    assert_int_equal(plan.slot, plan.offset[MEMORY_TRACKED]);
    assert_int_equal(plan.offset[MEMORY_SCALARS], 0);
}

static void moments_of_optimisers(void **state)
{
    (void)state;
    static const int expected[] = {
        [OPTIMIZER_SGD] = 0, [OPTIMIZER_MOMENTUM] = 1, [OPTIMIZER_ADAM] = 2, [OPTIMIZER_ADAMW] = 2};
    struct spec spec = largest();
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_ADAMW; kind++) {
        struct memory_plan plan;
        spec.train.optimizer = (enum spec_optimizer)kind;
        plan_of(&spec, 4, 4, &plan);
        assert_int_equal(plan.n_moments, expected[kind]);
        assert_int_equal(plan.moments, expected[kind] * plan.parameters);
        assert_int_equal(plan.copy, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_job),
        cmocka_unit_test(auto_is_the_larger),
        cmocka_unit_test(device_decides_the_chunk),
        cmocka_unit_test(beside_a_job),
        cmocka_unit_test(buffers_lie_apart),
        cmocka_unit_test(moments_of_optimisers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
