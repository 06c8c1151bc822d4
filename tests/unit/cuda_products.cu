/* Matrix products are checked where they are used (gpu/cuda/gemm_check.h), on the processor
 * (tests/lib/cuda_host.h): what the check measures is what plain loops in double measure; products
 * that are right never fail, at awkward shapes and with numbers that cancel, overflow or are lost;
 * one that is wrong in any of its parts ends the job as a fault of the device, and is named; and it
 * costs one pass, in the first round of a program and in no other. */
#include "gpu/cuda/cuda.h"
#include "gpu/cuda/gemm.h"
#include "gpu/cuda/gemm_check.h"
#include "tests/lib/cuda_host_control.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>
extern "C" {
#include <cmocka.h>
}

namespace
{

/* What the numbers of a and b are like. */
enum numbers { NORMAL, POSITIVE, ONES, ZERO, CANCELLING, SORTED, TINY, HUGE_NUMBERS, KINDS };

struct shape {
    int m, n, k, transpose_a, transpose_b, out_real, accumulate;
    enum cuda_epilogue epilogue;
};

struct product {
    struct backend *backend;
    struct cuda_gemm gemm;
    std::vector<void *> memory;
};

uint64_t random_state = 1;

double uniform(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (double)(random_state >> 11) / (double)(UINT64_C(1) << 53) * 2 - 1;
}

/* ---- arrays ---- */

int is_bf16(const struct product &p, int is_real)
{
    return !is_real && p.backend->precision == PRECISION_BF16;
}

double get(const struct product &p, const void *array, int is_real, int64_t i)
{
    return is_bf16(p, is_real) ? (double)load(static_cast<const struct bf16 *>(array) + i)
                               : (double)static_cast<const float *>(array)[i];
}

void put(const struct product &p, void *array, int is_real, int64_t i, double value)
{
    if (is_bf16(p, is_real))
        store(static_cast<struct bf16 *>(array) + i, (float)value);
    else
        static_cast<float *>(array)[i] = (float)value;
}

void *take(struct product *p, int64_t n)
{
    struct err err = {};
    void *memory = p->backend->alloc(p->backend, n * (int64_t)sizeof(float), &err);
    assert_non_null(memory);
    p->memory.push_back(memory);
    return memory;
}

/* Number `step` of k of a row of a or a column of b. */
double number(enum numbers numbers, int is_b, int step, int k)
{
    const double x = uniform();
    switch (numbers) {
    case POSITIVE:
        return 1 + 0.3 * x;
    case ONES:
        return 1;
    case ZERO:
        return 0;
    case CANCELLING: /* neighbours have opposite signs in a, and are equal in b */
        return is_b ? 1 + 1e-3 * x : step % 2 ? 1 : -1;
    case SORTED: /* partial sums grow to half of all there is, and fall again */
        return is_b ? 0.7 : step < k / 2 ? 0.3 : -0.3;
    case TINY:
        return 1e-25 * x;
    case HUGE_NUMBERS:
        return 1e19 * x;
    default:
        return x;
    }
}

struct backend *open_backend(int precision)
{
    struct backend *backend = NULL;
    struct err err = {};
    if (cuda_backend_open(0, (enum spec_precision)precision, &backend, &err) != 0)
        fail_msg("%s", err.message);
    return backend;
}

void close_backend(struct backend *backend)
{
    backend->close(backend);
    cuda_host_products = (struct cuda_host_products){};
    assert_int_equal(cuda_host_allocated(), 0);
}

/* Rows have 3 numbers more than they need. */
void open_product(struct product *p, struct backend *backend, const struct shape &s,
                  enum numbers numbers)
{
    const int a_rows = s.transpose_a ? s.k : s.m, a_columns = s.transpose_a ? s.m : s.k;
    const int b_rows = s.transpose_b ? s.n : s.k, b_columns = s.transpose_b ? s.k : s.n;
    p->backend = backend;
    struct cuda_gemm g = {s.m,     s.n,        s.k,  s.transpose_a, s.transpose_b,
                          NULL,    NULL,       NULL, a_columns + 3, b_columns + 3,
                          s.n + 3, s.out_real, 0.5f, s.accumulate};
    void *a = take(p, a_rows * g.lda), *b = take(p, b_rows * g.ldb);
    for (int i = 0; i < a_rows; i++)
        for (int j = 0; j < a_columns; j++)
            put(*p, a, 0, i * g.lda + j, number(numbers, 0, s.transpose_a ? i : j, s.k));
    for (int i = 0; i < b_rows; i++)
        for (int j = 0; j < b_columns; j++)
            put(*p, b, 0, i * g.ldb + j, number(numbers, 1, s.transpose_b ? j : i, s.k));
    g.a = a;
    g.b = b;
    g.out = take(p, s.m * g.ldout);
    g.epilogue = s.epilogue;
    g.bias = take(p, s.n);
    g.ldaux = (s.n + 7) / 8 * 8;
    g.aux = take(p, s.m * g.ldaux);
    for (int64_t i = 0; i < s.m * g.ldout; i++)
        put(*p, g.out, s.out_real, i, uniform());
    for (int64_t i = 0; i < s.m * g.ldaux; i++)
        put(*p, g.aux, s.out_real, i, 2 * uniform());
    for (int i = 0; i < s.n; i++)
        put(*p, g.bias, s.out_real, i, uniform());
    if (s.epilogue != CUDA_BIAS && s.epilogue != CUDA_BIAS_GELU_NEW)
        g.bias = NULL;
    if (s.epilogue != CUDA_BIAS_GELU_NEW && s.epilogue != CUDA_GELU_NEW_SLOPE)
        g.aux = NULL;
    p->gemm = g;
}

void close_product(struct product *p)
{
    for (void *memory : p->memory)
        p->backend->free(p->backend, memory);
    p->memory.clear();
}

/* ---- the reference of the check ---- */

double sign(int j, int vector)
{
    return cuda_gemm_check_signs(j) >> vector & 1 ? -1 : 1;
}

double gelu_new(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

double gelu_new_slope(double x)
{
    const double c = sqrt(2 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

/* What an element of the result should be. before: out before the product. */
double expected(const struct product &p, const std::vector<double> &before, int i, int j)
{
    const struct cuda_gemm &g = p.gemm;
    const int64_t at = i * g.ldaux + j;
    if (g.epilogue == CUDA_BIAS_GELU_NEW)
        return gelu_new(get(p, g.aux, g.out_real, at));
    if (g.epilogue == CUDA_GELU_NEW_SLOPE)
        return before[(size_t)(i * g.n + j)] * gelu_new_slope(get(p, g.aux, g.out_real, at));
    double sum = 0;
    for (int64_t step = 0; step < g.k; step++)
        sum += get(p, g.a, 0, g.transpose_a ? step * g.lda + i : i * g.lda + step) *
               get(p, g.b, 0, g.transpose_b ? j * g.ldb + step : step * g.ldb + j);
    return g.alpha * sum + (g.accumulate ? before[(size_t)(i * g.n + j)] : 0) +
           (g.bias ? get(p, g.bias, g.out_real, j) : 0);
}

double norm(const struct product &p, const void *array, int is_real, int64_t ld, int rows,
            int columns)
{
    double squares = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            squares += pow(get(p, array, is_real, i * ld + j), 2);
    return sqrt(squares);
}

/* Of rows first .. end. */
double norm_of_a(const struct product &p, int first, int end)
{
    const struct cuda_gemm &g = p.gemm;
    const int64_t from = g.transpose_a ? first : first * g.lda;
    const int row = p.backend->precision == PRECISION_BF16 ? 2 : 4;
    return norm(p, static_cast<const char *>(g.a) + from * row, 0, g.lda,
                g.transpose_a ? g.k : end - first, g.transpose_a ? end - first : g.k);
}

struct cuda_gemm_measure reference(const struct product &p, const std::vector<double> &before)
{
    const struct cuda_gemm &g = p.gemm;
    struct cuda_gemm_measure worst = {0, 1, 0, 1};
    const double b = norm(p, g.b, 0, g.ldb, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n);
    for (int first = 0; first < g.m; first += CUDA_WARP) {
        const int end = g.m - first < CUDA_WARP ? g.m : first + CUDA_WARP;
        double error[2] = {0, 0}, out = 0, q = 0;
        for (int i = first; i < end; i++) {
            double rest[2] = {0, 0};
            for (int j = 0; j < g.n; j++) {
                const double value = get(p, g.out, g.out_real, i * g.ldout + j);
                const double difference = value - expected(p, before, i, j);
                for (int v = 0; v < 2; v++)
                    rest[v] += difference * sign(j, v);
                out += value * value;
                if (g.epilogue == CUDA_BIAS_GELU_NEW)
                    q += pow(get(p, g.aux, g.out_real, i * g.ldaux + j), 2);
                if (g.epilogue == CUDA_GELU_NEW_SLOPE)
                    q += pow(before[(size_t)(i * g.n + j)], 2);
            }
            for (int v = 0; v < 2; v++)
                error[v] += rest[v] * rest[v];
        }
        const double terms = g.alpha * norm_of_a(p, first, end) * b;
        const double bound =
            (is_bf16(p, g.out_real) ? (1 + 8.5 / sqrt(end - first)) / 443.405 : 0) *
                (sqrt(out) + sqrt(q)) +
            (1e-4 + g.k / 67108864.0) * (sqrt(out) + terms / sqrt(g.k));
        const double is = sqrt(fmax(error[0], error[1]));
        if (is * worst.bound > worst.error * bound)
            worst = {is, bound, first, 1};
    }
    return worst;
}

/* ---- tests ---- */

void test_sums_of_signs(void **)
{
    int sums[2] = {0, 0}, both = 0;
    for (int j = 0; j < 1 << 20; j++) {
        for (int v = 0; v < 2; v++) {
            sums[v] += (int)sign(j, v);
            assert_true(abs(sums[v]) <= 1.44 * sqrt(j + 1));
        }
        both += (int)(sign(j, 0) * sign(j, 1));
        assert_true(abs(both) <= 2.1 * sqrt(j + 1));
    }
}

const struct shape shapes[] = {
    {1, 1, 1, 0, 0, 0, 0, CUDA_PRODUCT},
    {33, 30, 65, 0, 0, 0, 0, CUDA_PRODUCT},
    {65, 129, 30, 0, 1, 0, 0, CUDA_PRODUCT},
    {64, 257, 96, 0, 0, 0, 0, CUDA_BIAS},
    {1, 100, 8, 0, 0, 0, 0, CUDA_BIAS},
    {48, 30, 700, 1, 0, 1, 0, CUDA_PRODUCT},
    {70, 30, 129, 1, 0, 1, 1, CUDA_PRODUCT},
    {97, 64, 65, 0, 0, 1, 1, CUDA_PRODUCT},
    {40, 500, 33, 0, 1, 1, 0, CUDA_PRODUCT},
    {33, 120, 30, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW},
    {65, 120, 40, 0, 1, 0, 0, CUDA_GELU_NEW_SLOPE},
    {24, 40, 11528, 1, 0, 1, 0, CUDA_PRODUCT},
    {3, 50257, 12, 0, 1, 1, 0, CUDA_PRODUCT},
};

/* The library fuses these in bfloat16 alone. */
int is_possible(const struct shape &s, int precision)
{
    return precision == PRECISION_BF16 || s.epilogue < CUDA_BIAS_GELU_NEW;
}

/* Arrays of any numbers: the check measures how far out is from what it should be. */
void check_measure(struct backend *backend, const struct shape &s)
{
    struct product p;
    struct cuda_gemm_measure is = {};
    open_product(&p, backend, s, NORMAL);
    const struct cuda_gemm &g = p.gemm;
    struct cuda *cuda = cuda_of(p.backend);
    std::vector<double> before((size_t)g.m * (size_t)g.n);
    cuda_gemm_check_before(cuda, &g);
    cuda_host_run();
    for (int i = 0; i < g.m; i++)
        for (int j = 0; j < g.n; j++)
            before[(size_t)(i * g.n + j)] = get(p, g.out, g.out_real, i * g.ldout + j);
    if (g.epilogue == CUDA_BIAS_GELU_NEW) {
        cuda_gemm(cuda, "a product", &g); /* aux must be right, before out is judged */
        cuda_host_run();
    }
    for (int64_t i = 0; i < g.m * g.ldout; i++)
        put(p, g.out, g.out_real, i, uniform());
    assert_int_equal(cuda_gemm_check_after(cuda, &g, &is), CUDA_GEMM_WRONG);
    const struct cuda_gemm_measure must = reference(p, before);
    const int near = fabs(is.error - must.error) <= 1e-6 * must.error &&
                     fabs(is.bound - must.bound) <= 1e-6 * must.bound;
    if (!near || is.row != must.row || !is.is_known)
        fail_msg("%d x %d x %d, epilogue %d: %.17g of %.17g at %d, and not %.17g of %.17g at %d",
                 g.m, g.n, g.k, g.epilogue, is.error, is.bound, is.row, must.error, must.bound,
                 must.row);
    close_product(&p);
}

void test_what_is_measured(void **)
{
    for (int precision = PRECISION_FP32; precision <= PRECISION_BF16; precision++) {
        struct backend *backend = open_backend(precision);
        for (const struct shape &s : shapes)
            if (is_possible(s, precision))
                check_measure(backend, s);
        close_backend(backend);
    }
}

/* The backend checks the first use of a plan, this test every other one too. */
void check_right(struct backend *backend, const struct shape &s, int numbers)
{
    struct product p;
    struct err err = {};
    struct cuda_gemm_measure is = {};
    struct cuda *cuda = cuda_of(backend);
    open_product(&p, backend, s, (enum numbers)numbers);
    cuda_gemm_fused(cuda, "a product", &p.gemm);
    if (s.epilogue == CUDA_GELU_NEW_SLOPE) {
        struct cuda_gemm plain = p.gemm;
        plain.epilogue = CUDA_PRODUCT;
        plain.aux = NULL;
        cuda_gemm(cuda, "a product", &plain);
    }
    cuda_gemm_check_before(cuda, &p.gemm);
    assert_int_equal(cuda_gemm_fused(cuda, "a product", &p.gemm), 1);
    const int verdict = cuda_gemm_check_after(cuda, &p.gemm, &is);
    if (backend->sync(backend, &err) != 0)
        fail_msg("numbers %d: %s", numbers, err.message);
    /* Sums of huge numbers may be infinite, which is no fault. */
    if (verdict != CUDA_GEMM_HOLDS && (verdict != CUDA_GEMM_UNKNOWN || numbers != HUGE_NUMBERS))
        fail_msg("numbers %d, %d x %d x %d: %g of %g", numbers, s.m, s.n, s.k, is.error, is.bound);
    close_product(&p);
}

void test_right_products_hold(void **)
{
    for (int order = 0; order < cuda_host_orders(); order++)
        for (int precision = PRECISION_FP32; precision <= PRECISION_BF16; precision++) {
            cuda_host_order = (enum cuda_host_order)order;
            struct backend *backend = open_backend(precision);
            for (const struct shape &s : shapes)
                for (int numbers = 0; numbers < KINDS && is_possible(s, precision); numbers++)
                    check_right(backend, s, numbers);
            close_backend(backend);
        }
    cuda_host_order = CUDA_HOST_FORWARD;
}

/* The norm of the rest relative to the bound, of products that are right. */
void test_margins(void **)
{
    for (int precision = PRECISION_FP32; precision <= PRECISION_BF16; precision++)
        for (int is_long = 0; is_long < 2; is_long++) {
            const struct shape s = is_long ? shape{32, 32, 57608, 1, 0, 1, 0, CUDA_PRODUCT}
                                           : shape{256, 512, 128, 0, 0, 0, 0, CUDA_PRODUCT};
            struct product p;
            struct cuda_gemm_measure is = {};
            open_product(&p, open_backend(precision), s, NORMAL);
            cuda_gemm(cuda_of(p.backend), "a product", &p.gemm);
            assert_int_equal(cuda_gemm_check_after(cuda_of(p.backend), &p.gemm, &is),
                             CUDA_GEMM_HOLDS);
            print_message("%s, k %d: margin %.3g\n", precision == PRECISION_BF16 ? "bf16" : "fp32",
                          s.k, is.bound / is.error);
            assert_true(is.error > 0 && is.error * 2 < is.bound);
            close_product(&p);
            close_backend(p.backend);
        }
}

/* Numbers that are not finite are no fault of the device, and are looked at again. */
void test_no_numbers(void **)
{
    static const double bad[] = {NAN, INFINITY};
    for (double value : bad)
        for (int which = 0; which < 4; which++) {
            struct product p;
            struct err err = {};
            open_product(&p, open_backend(PRECISION_FP32), {65, 40, 33, 0, 0, 1, 1, CUDA_PRODUCT},
                         NORMAL);
            p.gemm.bias = NULL;
            void *const arrays[] = {const_cast<void *>(p.gemm.a), const_cast<void *>(p.gemm.b),
                                    p.gemm.out, p.gemm.out};
            put(p, arrays[which], 1, 7, value);
            const uint64_t before = cuda_host_counts.kernels;
            cuda_gemm(cuda_of(p.backend), "a product", &p.gemm);
            const uint64_t first = cuda_host_counts.kernels - before;
            cuda_gemm(cuda_of(p.backend), "a product", &p.gemm);
            assert_int_equal(cuda_host_counts.kernels - before, 2 * first);
            if (p.backend->sync(p.backend, &err) != 0)
                fail_msg("%s", err.message);
            close_product(&p);
            close_backend(p.backend);
        }
}

/* A result that is not finite, of numbers that are, is one. */
void test_a_result_that_is_no_number(void **)
{
    static const double bad[] = {NAN, INFINITY};
    for (double value : bad) {
        struct product p;
        struct cuda_gemm_measure is = {};
        open_product(&p, open_backend(PRECISION_BF16), {65, 40, 33, 0, 0, 0, 0, CUDA_PRODUCT},
                     NORMAL);
        cuda_gemm(cuda_of(p.backend), "a product", &p.gemm);
        cuda_host_run();
        put(p, p.gemm.out, 0, 64 * p.gemm.ldout + 39, value);
        assert_int_equal(cuda_gemm_check_after(cuda_of(p.backend), &p.gemm, &is), CUDA_GEMM_WRONG);
        assert_int_equal(is.row, 64);
        close_product(&p);
        close_backend(p.backend);
    }
}

void test_wrong_products_are_named(void **)
{
    static const struct {
        enum cuda_host_wrong wrong;
        struct shape shape;
        const char *reason;
    } cases[] = {
        {CUDA_HOST_NO_TAIL,
         {24, 40, 11528, 1, 0, 1, 0, CUDA_PRODUCT},
         "a wrong product of 24 x 40 x 11528, algorithm 1, k in 2 parts: error "},
        {CUDA_HOST_NO_TAIL, {32, 32, 57608, 1, 0, 1, 0, CUDA_PRODUCT}, "in the rows from 0 on"},
        {CUDA_HOST_NO_TAIL, {64, 96, 768, 0, 1, 0, 0, CUDA_PRODUCT}, "64 x 96 x 768"},
        {CUDA_HOST_NO_TILE, {2048, 96, 64, 0, 0, 0, 0, CUDA_PRODUCT}, "rows from"},
        {CUDA_HOST_NO_TILE, {64, 3072, 32, 1, 0, 1, 0, CUDA_PRODUCT}, "in the rows from"},
        {CUDA_HOST_NO_TILE, {64, 3072, 32, 0, 0, 0, 0, CUDA_BIAS}, "in the rows from"},
        {CUDA_HOST_NO_BIAS, {33, 30, 65, 0, 0, 0, 0, CUDA_BIAS}, "a wrong product"},
        {CUDA_HOST_NO_BIAS, {33, 120, 30, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW}, "a wrong product"},
        {CUDA_HOST_NO_SUM, {70, 30, 129, 1, 0, 1, 1, CUDA_PRODUCT}, "a wrong product"},
        {CUDA_HOST_NO_GELU, {33, 120, 30, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW}, "a wrong product"},
        {CUDA_HOST_NO_AUX, {33, 120, 30, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW}, "a wrong product"},
        {CUDA_HOST_NO_TILE, {64, 400, 30, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW}, "a wrong product"},
        {CUDA_HOST_NO_SLOPE, {65, 120, 40, 0, 1, 0, 0, CUDA_GELU_NEW_SLOPE}, "a wrong product"},
        {CUDA_HOST_NO_TAIL, {65, 120, 400, 0, 1, 0, 0, CUDA_GELU_NEW_SLOPE}, "a wrong product"},
    };
    for (const auto &c : cases)
        for (int precision = PRECISION_FP32; precision <= PRECISION_BF16; precision++) {
            struct product p;
            struct err err = {};
            if (!is_possible(c.shape, precision))
                continue;
            open_product(&p, open_backend(precision), c.shape, NORMAL);
            cuda_host_products.wrong = c.wrong;
            cuda_gemm_fused(cuda_of(p.backend), "the layer", &p.gemm);
            if (p.backend->sync(p.backend, &err) == 0)
                fail_msg("fault %d of %d x %d x %d was not seen", c.wrong, c.shape.m, c.shape.n,
                         c.shape.k);
            assert_int_equal(err.code, ERR_DEVICE);
            if (!strstr(err.message, c.reason) || strncmp(err.message, "the layer: ", 11) != 0)
                fail_msg("\"%s\" is not in: %s", c.reason, err.message);
            close_product(&p);
            close_backend(p.backend);
        }
}

/* ---- what it costs ---- */

enum { PRODUCTS = 5, PASSES_OF_ALL = 4 + 5 + 5 + 8 + 4 + 5 };

/* A product alone, added to another one, with bias, with gelu_new and with its slope, which has the
 * product without it in addition. */
void open_program(struct product p[PRODUCTS])
{
    static const struct shape program[PRODUCTS] = {{33, 40, 64, 0, 0, 0, 0, CUDA_PRODUCT},
                                                   {40, 48, 65, 1, 0, 1, 1, CUDA_PRODUCT},
                                                   {33, 32, 40, 0, 0, 0, 0, CUDA_BIAS},
                                                   {33, 64, 40, 0, 0, 0, 0, CUDA_BIAS_GELU_NEW},
                                                   {33, 64, 48, 0, 1, 0, 0, CUDA_GELU_NEW_SLOPE}};
    struct backend *backend = open_backend(PRECISION_BF16);
    for (int i = 0; i < PRODUCTS; i++)
        open_product(&p[i], backend, program[i], NORMAL);
}

/* Kernels and products of a round of program `number`. */
uint64_t run_round(struct product p[PRODUCTS], struct backend_ring *ring, int number)
{
    struct backend *backend = p[0].backend;
    struct err err = {};
    const uint64_t before = cuda_host_counts.kernels + cuda_host_products.products;
    if (backend->program_begin(backend, ring, number))
        do
            for (int i = 0; i < PRODUCTS; i++)
                cuda_gemm_fused(cuda_of(backend), "a product", &p[i].gemm);
        while (backend->program_end(backend, ring, number));
    else
        backend->program_end(backend, ring, number);
    if (backend->ring_wait(backend, ring, ring->started - 1, &err) != 0)
        fail_msg("%s", err.message);
    return cuda_host_counts.kernels + cuda_host_products.products - before;
}

void test_the_first_round_alone_pays(void **)
{
    struct product p[PRODUCTS];
    struct err err = {};
    cuda_host_products = (struct cuda_host_products){};
    open_program(p);
    struct backend_ring *ring = p[0].backend->ring_open(p[0].backend, 256, &err);
    assert_non_null(ring);
    const uint64_t queued = PRODUCTS + 1; /* the products and the end of the program */
    assert_int_equal(run_round(p, ring, 0), queued + PASSES_OF_ALL + 1);
    assert_int_equal(cuda_host_products.products, PRODUCTS + 1);
    /* Recorded: the products are queued for the recording and not again when it starts. */
    assert_int_equal(run_round(p, ring, 0), queued);
    assert_int_equal(run_round(p, ring, 0), 1);
    assert_int_equal(cuda_host_products.products, 2 * PRODUCTS + 1);
    /* Another program with the same products: they have been checked. */
    assert_int_equal(run_round(p, ring, 1), queued);
    p[0].backend->ring_close(p[0].backend, ring);
    for (int i = 0; i < PRODUCTS; i++)
        close_product(&p[i]);
    close_backend(p[0].backend);
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_of_signs),
        cmocka_unit_test(test_what_is_measured),
        cmocka_unit_test(test_right_products_hold),
        cmocka_unit_test(test_margins),
        cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_a_result_that_is_no_number),
        cmocka_unit_test(test_wrong_products_are_named),
        cmocka_unit_test(test_the_first_round_alone_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
