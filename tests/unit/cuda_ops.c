/* The cuda backend on the processor (tests/lib/cuda_host.h): every operation, in
 * float32 and in bfloat16, agrees with the reference and gives the same bits in
 * every order of threads and blocks under test; what opening refuses and why; a fault of the
 * device stays and is told with the name of what was queued last. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cuda/cuda.h"
#include "tests/lib/cuda_host_control.h"
#include "tests/lib/ops_asserts.h"

enum { ILLEGAL_ADDRESS = 700 }; /* cudaErrorIllegalAddress */

static int open_fp32(struct backend **out, struct err *err)
{
    return cuda_backend_open(0, PRECISION_FP32, out, err);
}

static int open_bf16(struct backend **out, struct err *err)
{
    return cuda_backend_open(0, PRECISION_BF16, out, err);
}

static void set_order(int run)
{
    cuda_host_order = (enum cuda_host_order)run;
}

static void test_fp32_in_every_order(void **state)
{
    (void)state;
    assert_cases(open_fp32, NULL, cuda_host_orders(), set_order);
}

static void test_bf16_in_every_order(void **state)
{
    (void)state;
    assert_cases(open_bf16, NULL, cuda_host_orders(), set_order);
}

static void test_head_without_statistics(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_lm_head_without_statistics);
    assert_check(open_bf16, ops_check_lm_head_without_statistics);
}

static void test_forward_alone(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_forward_alone);
    assert_check(open_bf16, ops_check_forward_alone);
}

static void test_parts_add_up(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_parts_add_up);
    assert_check(open_bf16, ops_check_parts_add_up);
}

static void test_divergence_shows(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_divergence_shows);
    assert_check(open_bf16, ops_check_divergence_shows);
}

static void test_programs(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_programs);
    assert_check(open_bf16, ops_check_programs);
}

static void test_bits_survive_the_device(void **state)
{
    (void)state;
    assert_check(open_fp32, ops_check_bits_survive_the_device);
    assert_check(open_bf16, ops_check_bits_survive_the_device);
}

/* After a refusal another try may succeed, and meets no fault of the one before. */
static void check_usable(void)
{
    struct backend *backend;
    struct err err = ERR_INIT;
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *memory = backend->alloc(backend, 64 * sizeof(float), &err);
    assert_non_null(memory);
    backend->add(backend, memory, memory, memory, 64);
    if (backend->sync(backend, &err) != 0)
        fail_msg("%s", err.message);
    backend->free(backend, memory);
    backend->close(backend);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct cuda_host_machine usual = cuda_host_machine;
    static const struct {
        int device;
        struct cuda_host_machine machine;
        enum err_code code;
        const char *reason;
    } cases[] = {
        {0, {.devices = 1, .driver = 0}, ERR_UNAVAILABLE, "no NVIDIA driver is installed"},
        {0,
         {1, 12040, 13000, 9, 0, 0, 1, 0},
         ERR_UNAVAILABLE,
         "is for CUDA 12.4, this build needs 13.0: driver 580.65.06 or newer"},
        {0, {0, 13000, 13000, 9, 0, 0, 1, 0}, ERR_UNAVAILABLE, "cudaErrorNoDevice"},
        {1, {1, 13000, 13000, 9, 0, 0, 1, 0}, ERR_UNAVAILABLE, "no CUDA device 1, there is 1"},
        {-1, {2, 13000, 13000, 9, 0, 0, 1, 0}, ERR_UNAVAILABLE, "no CUDA device -1, there are 2"},
        {0, {1, 13000, 13000, 7, 5, 1, 1, 0}, ERR_UNAVAILABLE, "architecture 7.5, no code for it"},
        {0, {1, 13000, 13000, 9, 0, 0, 1000, 0}, ERR_NO_MEMORY, "bytes wanted, 1000 there"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct backend *backend = NULL;
        struct err err = ERR_INIT;
        cuda_host_machine = cases[c].machine;
        const uint64_t before = cuda_host_counts.context_calls;
        assert_int_equal(cuda_backend_open(cases[c].device, PRECISION_AUTO, &backend, &err), -1);
        if (cases[c].code == ERR_UNAVAILABLE)
            assert_int_equal(cuda_host_counts.context_calls, before);
        assert_int_equal(err.code, cases[c].code);
        if (!strstr(err.message, cases[c].reason))
            fail_msg("\"%s\" is not in: %s", cases[c].reason, err.message);
        assert_null(backend);
        assert_int_equal(cuda_host_allocated(), 0);
        cuda_host_machine = usual;
        check_usable();
    }
}

static void test_memory_is_counted(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    assert_int_equal(open_fp32(&backend, &err), 0);
    assert_int_equal(backend_check(backend, &err), 0);
    const int64_t before = backend->available(backend);
    void *memory = backend->alloc(backend, 1000, &err);
    assert_non_null(memory);
    assert_int_equal(backend->available(backend), before - 1000);
    assert_null(backend->alloc(backend, INT64_C(1) << 60, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
    assert_non_null(strstr(err.message, "1152921504606846976 bytes"));
    assert_int_equal(backend->sync(backend, &err), 0);
    backend->free(backend, memory);
    backend->close(backend);
    assert_int_equal(cuda_host_allocated(), 0);
}

/* An array may be written again as soon as upload returns, in any precision. */
static void test_uploads_are_done(void **state)
{
    (void)state;
    enum { NUMBERS = 64 };
    static const enum backend_number kinds[] = {NUMBER_REAL, NUMBER_ACT};
    struct backend *backend;
    struct err err = ERR_INIT;
    float numbers[NUMBERS], back[NUMBERS];
    cuda_host_order = CUDA_HOST_BACKWARD;
    assert_int_equal(cuda_backend_open(0, PRECISION_BF16, &backend, &err), 0);
    void *memory = backend->alloc(backend, sizeof numbers, &err);
    assert_non_null(memory);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        for (int i = 0; i < NUMBERS; i++)
            numbers[i] = (float)i;
        backend->upload(backend, memory, kinds[kind], numbers, NUMBER_FLOAT, NUMBERS);
        memset(numbers, 0, sizeof numbers);
        assert_int_equal(
            backend->download(backend, back, NUMBER_FLOAT, memory, kinds[kind], NUMBERS, &err), 0);
        for (int i = 0; i < NUMBERS; i++)
            assert_true(back[i] == (float)i);
    }
    backend->free(backend, memory);
    backend->close(backend);
    cuda_host_order = CUDA_HOST_FORWARD;
}

/* What the kernels cannot do is a fault too, told at the next wait. */
static void test_heads_too_large(void **state)
{
    (void)state;
    enum { D = 129 };
    struct backend *backend;
    struct err err = ERR_INIT;
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *qkv = backend->alloc(backend, 3 * D * (int64_t)sizeof(float), &err);
    void *out = backend->alloc(backend, D * (int64_t)sizeof(float), &err);
    void *lse = backend->alloc(backend, (int64_t)sizeof(float), &err);
    assert_true(qkv && out && lse);
    backend->attention_forward(backend, out, lse, qkv, 1, 1, D, 1);
    for (int again = 0; again < 2; again++) {
        err_clear(&err);
        assert_int_equal(backend->sync(backend, &err), -1);
        assert_int_equal(err.code, ERR_DEVICE);
        assert_non_null(strstr(err.message, "a head of more than 128"));
    }
    backend->free(backend, qkv);
    backend->free(backend, out);
    backend->free(backend, lse);
    backend->close(backend);
}

/* ---- arrays that do not start at multiples of 16 bytes ---- */

enum { SHIFTED = 1027, SHIFT_ARRAYS = 5 };

/* The elementwise operations on arrays that start `shift` numbers into their memory. */
static void run_shifted(ops_open *open, int shift, double out[SHIFT_ARRAYS][SHIFTED])
{
    struct backend *be;
    struct err err = ERR_INIT;
    static double numbers[SHIFT_ARRAYS][SHIFTED];
    static const enum backend_number kinds[SHIFT_ARRAYS] = {NUMBER_REAL, NUMBER_ACT, NUMBER_ACT,
                                                            NUMBER_REAL, NUMBER_REAL};
    static const double scalars[3] = {0.125, 0.5, 0.25};
    void *memory[SHIFT_ARRAYS], *at[SHIFT_ARRAYS];
    assert_int_equal(open(&be, &err), 0);
    void *lr = be->alloc(be, 64, &err);
    be->upload(be, lr, NUMBER_REAL, scalars, NUMBER_DOUBLE, 3);
    for (int a = 0; a < SHIFT_ARRAYS; a++) {
        for (int i = 0; i < SHIFTED; i++)
            numbers[a][i] = sin(i + 100 * a) + (a == 4);
        memory[a] = be->alloc(be, (SHIFTED + shift) * 4, &err);
        assert_non_null(memory[a]);
        at[a] = backend_at(be, memory[a], kinds[a], shift);
        be->upload(be, at[a], kinds[a], numbers[a], NUMBER_DOUBLE, SHIFTED);
    }
    const struct backend_update update = {
        .kind = OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .scalars = lr};
    be->add(be, at[2], at[1], at[2], SHIFTED);
    be->activation_forward(be, at[1], at[2], SHIFTED, ACTIVATION_GELU);
    be->activation_backward(be, at[2], at[1], at[2], SHIFTED, ACTIVATION_GELU_NEW);
    be->update(be, &update, at[0], at[1], at[4], at[3], at[4], SHIFTED);
    be->cast(be, at[1], at[3], SHIFTED);
    be->sum_squares(be, at[3], at[0], SHIFTED);
    for (int a = 0; a < SHIFT_ARRAYS; a++) {
        assert_int_equal(be->download(be, out[a], NUMBER_DOUBLE, at[a], kinds[a], SHIFTED, &err),
                         0);
        be->free(be, memory[a]);
    }
    be->free(be, lr);
    be->close(be);
}

/* Where an array starts changes no bit; a sum over all of it may be made in
 * another order. */
static void check_shifted(ops_open *open)
{
    static double straight[SHIFT_ARRAYS][SHIFTED], shifted[SHIFT_ARRAYS][SHIFTED];
    run_shifted(open, 0, straight);
    run_shifted(open, 1, shifted);
    assert_true(fabs(straight[3][0] - shifted[3][0]) < 1e-5 * straight[3][0]);
    shifted[3][0] = straight[3][0];
    assert_memory_equal(straight, shifted, sizeof straight);
}

static void test_arrays_anywhere(void **state)
{
    (void)state;
    check_shifted(open_fp32);
    check_shifted(open_bf16);
}

/* x [N, I] weight [I, O], each of its own size; bias and numbers do not matter. */
static void multiply(struct backend *backend, void *memory, int N, int I, int O)
{
    backend->matmul_forward(backend, memory, memory, memory, memory, N, I, O);
}

enum { SHAPES = 600, SHAPES_BYTES = 4 * (SHAPES + 2) * 4 };

/* One search a shape, however often it is multiplied and however many shapes there
 * are; nothing of it is left behind. */
static void test_plans_are_kept(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    cuda_host_products = (struct cuda_host_products){0};
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *memory = backend->alloc(backend, SHAPES_BYTES, &err);
    assert_non_null(memory);
    for (int i = 0; i < 3; i++)
        multiply(backend, memory, 2, 3, 4);
    assert_int_equal(cuda_host_products.queries, 1);
    assert_int_equal(cuda_host_products.products, 3);
    for (int shape = 0; shape < SHAPES; shape++)
        multiply(backend, memory, 1, 1, 1 + shape);
    multiply(backend, memory, 1, 1, SHAPES);
    assert_int_equal(cuda_host_products.queries, 1 + SHAPES);
    multiply(backend, memory, 2, 3, 4);
    assert_int_equal(cuda_host_products.queries, 1 + SHAPES);
    assert_int_equal(backend->sync(backend, &err), 0);
    backend->free(backend, memory);
    backend->close(backend);
    assert_int_equal(cuda_host_products.alive, 0);
    assert_int_equal(cuda_host_allocated(), 0);
}

/* A program of more products than any model has is recorded without a question; a new
 * job forgets the many plans, but not beside another one that may still be recorded. */
static void test_plans_of_a_program(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    cuda_host_products = (struct cuda_host_products){0};
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *memory = backend->alloc(backend, SHAPES_BYTES, &err);
    struct backend_ring *ring = backend->ring_open(backend, 256, &err), *other = NULL;
    assert_true(memory && ring);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(backend->program_begin(backend, ring, 1), round < 2);
        for (int shape = 0; round < 2 && shape < SHAPES; shape++)
            multiply(backend, memory, 1, 1, 1 + shape);
        backend->program_end(backend, ring, 1);
        if (backend->ring_wait(backend, ring, round, &err) != 0)
            fail_msg("round %d: %s", round, err.message);
    }
    assert_int_equal(cuda_host_products.queries, SHAPES);
    other = backend->ring_open(backend, 256, &err);
    multiply(backend, memory, 1, 1, 1);
    assert_int_equal(cuda_host_products.queries, SHAPES);
    backend->ring_close(backend, other);
    backend->ring_close(backend, ring);
    ring = backend->ring_open(backend, 256, &err);
    multiply(backend, memory, 1, 1, 1);
    assert_int_equal(cuda_host_products.queries, SHAPES + 1);
    backend->ring_close(backend, ring);
    backend->free(backend, memory);
    backend->close(backend);
    assert_int_equal(cuda_host_products.alive, 0);
    assert_int_equal(cuda_host_objects(), 0);
}

/* A product that the first round did not have is a bug of ours, and is told as one. */
static void test_a_new_product_is_not_recorded(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *memory = backend->alloc(backend, 256, &err);
    struct backend_ring *ring = backend->ring_open(backend, 256, &err);
    assert_true(memory && ring);
    cuda_host_products = (struct cuda_host_products){0};
    for (int round = 0; round < 2; round++) {
        assert_int_equal(backend->program_begin(backend, ring, 1), 1);
        multiply(backend, memory, 1, 2, 3 + round);
        backend->program_end(backend, ring, 1);
    }
    assert_int_equal(backend->ring_wait(backend, ring, 0, &err), 0);
    assert_int_equal(backend->ring_wait(backend, ring, 1, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.message, "matmul_forward with bias: a product of 1 x 4 x 2 is new"));
    assert_int_equal(cuda_host_products.queries, 1);
    backend->ring_close(backend, ring);
    backend->free(backend, memory);
    backend->close(backend);
    assert_int_equal(cuda_host_objects(), 0);
}

/* Weight gradients over k positions: every number is k, or some of it is lost. */
static int loses_nothing(const struct cuda_host_products *library, int k, struct err *err)
{
    enum { WIDTH = 2, K_MAX = 256, BYTES = 4 * WIDTH * K_MAX };
    struct backend *backend;
    float ones[WIDTH * K_MAX], sums[WIDTH * WIDTH];
    cuda_host_products = *library;
    assert_int_equal(open_fp32(&backend, err), 0);
    char *memory = backend->alloc(backend, 3 * BYTES, err);
    assert_non_null(memory);
    for (int i = 0; i < WIDTH * k; i++)
        ones[i] = 1;
    backend->upload(backend, memory, NUMBER_REAL, ones, NUMBER_FLOAT, WIDTH * k);
    backend->matmul_backward_weight(backend, memory + BYTES, memory + 2 * BYTES, memory, memory, k,
                                    WIDTH, WIDTH);
    const int failed = backend->download(backend, sums, NUMBER_FLOAT, memory + BYTES, NUMBER_REAL,
                                         WIDTH * WIDTH, err);
    backend->free(backend, memory);
    backend->close(backend);
    cuda_host_products = (struct cuda_host_products){0};
    int whole = 1;
    for (int i = 0; !failed && i < WIDTH * WIDTH; i++)
        whole = whole && sums[i] == (float)k;
    return failed ? -1 : whole;
}

/* Algorithm 66 can lose the tail of k. The first proposal that cannot is taken; where
 * there is none, k is not split; where that is not possible, the product fails. */
static void test_the_tail_of_k_is_kept(void **state)
{
    (void)state;
    static const struct {
        int k;
        struct cuda_host_products library;
    } cases[] = {
        {129, {.proposals = {{66, 2}, {66, 2}, {21, 2}}}},
        {129, {.proposals = {{66, 2}, {66, 3}}}}, /* 3 does not divide two tiles */
        {129, {.proposals = {{66, 2}, {66, 2}}}},
        {193, {.proposals = {{66, 3}}}},
        {128, {.proposals = {{66, 2}}, .only_split = 1}}, /* no tail */
        {130, {.proposals = {{66, 2}}, .only_split = 1}}, /* as many left as parts */
        {129, {.proposals = {{21, 2}}, .only_split = 1}},
    };
    struct err err = ERR_INIT;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int whole = loses_nothing(&cases[c].library, cases[c].k, &err);
        if (whole != 1)
            fail_msg("case %zu: %s", c, whole < 0 ? err.message : "a tail was lost");
    }
    static const struct cuda_host_products none = {.proposals = {{66, 2}}, .only_split = 1};
    assert_int_equal(loses_nothing(&none, 129, &err), -1);
    assert_int_equal(err.code, ERR_DEVICE);
    assert_non_null(strstr(err.message, "matmul_backward_weight: every algorithm loses the tail of "
                                        "k, for a product of 2 x 2 x 129"));
}

/* What the library of products refuses, before and at the product. */
static void test_products_that_fail(void **state)
{
    (void)state;
    static const struct {
        struct cuda_host_products library;
        const char *reason;
    } cases[] = {
        {{.refused = CUDA_HOST_ANY_PRODUCT},
         "matmul_forward: no algorithm for a product of 2 x 4 x 3: CUBLAS_STATUS_NOT_SUPPORTED"},
        {{.fail_next = 1},
         "matmul_forward with bias: cublasLtMatmul of 2 x 4 x 3: CUBLAS_STATUS_EXECUTION_FAILED"},
        {{.refused = CUDA_HOST_EPILOGUES, .fail_next = 1},
         "matmul_forward: cublasLtMatmul of 2 x 4 x 3: CUBLAS_STATUS_EXECUTION_FAILED"},
    };
    struct backend *backend;
    struct err err = ERR_INIT;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        cuda_host_products = cases[c].library;
        err_clear(&err);
        assert_int_equal(open_bf16(&backend, &err), 0);
        void *memory = backend->alloc(backend, 64, &err);
        assert_non_null(memory);
        multiply(backend, memory, 2, 3, 4);
        assert_int_equal(backend->sync(backend, &err), -1);
        assert_int_equal(err.code, ERR_DEVICE);
        assert_non_null(strstr(err.message, cases[c].reason));
        backend->free(backend, memory);
        backend->close(backend);
        assert_int_equal(cuda_host_products.alive, 0);
    }
    cuda_host_products = (struct cuda_host_products){.no_handle = 1};
    assert_int_equal(open_fp32(&backend, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED"));
    assert_int_equal(cuda_host_allocated(), 0);
    cuda_host_products = (struct cuda_host_products){0};
}

/* A bias that starts anywhere is added by a kernel of ours: the library is not asked.
 * One that it refuses only when asked for the product is, from then on. */
static void test_products_that_are_turned_away(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    assert_int_equal(open_bf16(&backend, &err), 0);
    char *memory = backend->alloc(backend, 256, &err);
    assert_non_null(memory);
    backend->zero(backend, memory, 256);
    cuda_host_products = (struct cuda_host_products){0};
    backend->matmul_forward(backend, memory, memory, memory, memory + 2, 2, 3, 4);
    assert_int_equal(cuda_host_products.fused + cuda_host_products.turned_away, 0);
    multiply(backend, memory, 2, 3, 4);
    assert_int_equal(cuda_host_products.fused, 1);
    cuda_host_products = (struct cuda_host_products){.refused_late = CUDA_HOST_EPILOGUES};
    for (int i = 0; i < 3; i++)
        multiply(backend, memory, 3, 3, 4);
    assert_int_equal(cuda_host_products.turned_away, 1);
    assert_int_equal(cuda_host_products.products, 3);
    assert_int_equal(cuda_host_products.queries, 2);
    assert_int_equal(backend->sync(backend, &err), 0);
    backend->free(backend, memory);
    backend->close(backend);
    cuda_host_products = (struct cuda_host_products){0};
}

/* Products queued, and of them with an epilogue, by the cases of two operations. */
static struct cuda_host_products products_of(struct cuda_host_products library, int major)
{
    const struct cuda_host_machine usual = cuda_host_machine;
    cuda_host_machine.major = major;
    cuda_host_products = library;
    assert_operation(open_fp32, "matmul", 1);
    assert_operation(open_bf16, "matmul", 1);
    assert_operation(open_bf16, "matmul_activation", 1);
    const struct cuda_host_products counted = cuda_host_products;
    cuda_host_products = (struct cuda_host_products){0};
    cuda_host_machine = usual;
    return counted;
}

/* The same numbers, near enough, whether the library fuses what comes after a
 * product or not; a card before Hopper fuses less. */
static void test_products_without_epilogues(void **state)
{
    (void)state;
    static const struct cuda_host_products all, none = {.refused = CUDA_HOST_EPILOGUES},
                                                late = {.refused_late = CUDA_HOST_EPILOGUES};
    const struct cuda_host_products hopper = products_of(all, 9), ampere = products_of(all, 8);
    const struct cuda_host_products plain = products_of(none, 9), tried = products_of(late, 9);
    assert_true(hopper.fused > ampere.fused && ampere.fused > 0);
    assert_int_equal(plain.fused + tried.fused, 0);
    /* A slope is checked against its product without it. */
    assert_int_equal(tried.products, hopper.products);
    assert_true(hopper.products > plain.products &&
                hopper.products < plain.products + plain.queries);
    assert_true(tried.turned_away > 0 && hopper.turned_away + plain.turned_away == 0);
}

/* A card whose blocks have less shared memory than a row of GPT-2's logits takes. */
static void test_head_without_room(void **state)
{
    (void)state;
    const struct cuda_host_machine usual = cuda_host_machine;
    cuda_host_machine.major = 8;
    const uint64_t before = cuda_host_counts.kernels;
    assert_operation(open_fp32, "lm_head", 1);
    assert_operation(open_bf16, "lm_head", 1);
    const uint64_t in_parts = cuda_host_counts.kernels - before;
    cuda_host_machine = usual;
    assert_operation(open_fp32, "lm_head", 1);
    assert_operation(open_bf16, "lm_head", 1);
    assert_true(cuda_host_counts.kernels - before - in_parts < in_parts);
}

/* A card is named without being taken into use. */
static void test_probe(void **state)
{
    (void)state;
    char name[BACKEND_DEVICE_MAX];
    int64_t bytes;
    struct err err = ERR_INIT;
    assert_int_equal(cuda_backend_query(0, name, &bytes, &err), 0);
    assert_string_equal(name, "processor as a GPU");
    assert_int_equal(bytes, (int64_t)cuda_host_machine.memory);
    assert_int_equal(cuda_backend_query(1, name, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

/* Told at the next wait and at every later one; nothing queued behind it runs. */
static void test_a_fault_stays(void **state)
{
    (void)state;
    struct backend *backend;
    struct err err = ERR_INIT;
    float numbers[64] = {1}, back[64];
    assert_int_equal(open_fp32(&backend, &err), 0);
    void *memory = backend->alloc(backend, sizeof numbers, &err);
    assert_non_null(memory);
    backend->upload(backend, memory, NUMBER_REAL, numbers, NUMBER_FLOAT, 64);
    cuda_host_fail_next(ILLEGAL_ADDRESS);
    backend->add(backend, memory, memory, memory, 64);
    for (int again = 0; again < 2; again++) {
        err_clear(&err);
        assert_int_equal(backend->sync(backend, &err), -1);
        assert_int_equal(err.code, ERR_DEVICE);
        assert_non_null(strstr(err.message, "add"));
        assert_non_null(strstr(err.message, "cudaErrorIllegalAddress"));
    }
    assert_int_equal(backend->download(backend, back, NUMBER_FLOAT, memory, NUMBER_REAL, 64, &err),
                     -1);
    assert_int_equal(err.code, ERR_DEVICE);
    double wide[64];
    assert_int_equal(backend->download(backend, wide, NUMBER_DOUBLE, memory, NUMBER_REAL, 64, &err),
                     -1);
    err_clear(&err);
    assert_null(backend->alloc(backend, 64, &err));
    assert_int_equal(err.code, ERR_DEVICE);
    err_clear(&err);
    assert_null(backend->ring_open(backend, 256, &err));
    assert_int_equal(err.code, ERR_DEVICE);
    assert_int_equal(backend->available(backend), 0);
    backend->free(backend, memory);
    backend->close(backend);
    assert_int_equal(cuda_host_allocated(), 0);
    assert_int_equal(cuda_host_objects(), 0);
    cuda_host_recover();
    assert_int_equal(open_fp32(&backend, &err), 0);
    backend->close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32_in_every_order),
        cmocka_unit_test(test_bf16_in_every_order),
        cmocka_unit_test(test_head_without_statistics),
        cmocka_unit_test(test_forward_alone),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_divergence_shows),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_bits_survive_the_device),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_memory_is_counted),
        cmocka_unit_test(test_heads_too_large),
        cmocka_unit_test(test_arrays_anywhere),
        cmocka_unit_test(test_plans_are_kept),
        cmocka_unit_test(test_plans_of_a_program),
        cmocka_unit_test(test_a_new_product_is_not_recorded),
        cmocka_unit_test(test_the_tail_of_k_is_kept),
        cmocka_unit_test(test_products_that_fail),
        cmocka_unit_test(test_products_that_are_turned_away),
        cmocka_unit_test(test_products_without_epilogues),
        cmocka_unit_test(test_head_without_room),
        cmocka_unit_test(test_uploads_are_done),
        cmocka_unit_test(test_a_fault_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
