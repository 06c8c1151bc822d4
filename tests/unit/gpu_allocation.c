/* Nothing of ours is allocated in a step, and nothing is kept: once a model has done each
 * kind of step, the engine's own code asks for no memory, and what the libraries below it
 * ask for (OpenMP's teams; oneDNN's lists of arguments and the buffers into which its GEMM
 * driver packs, whose size depends on instruction set, caches and threads) is given back.
 * In both precisions, on every instruction set of this processor. The C library's functions
 * are replaced by ones that look at who calls; under AddressSanitizer, which has its own,
 * there is nothing to see. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "config/record.h"
#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_isa.h"
#include "gpu/evaluate.h"
#include "gpu/measure.h"
#include "gpu/model.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"
#include "lab/random.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WATCHED 1

/* glibc's own, under the names that it keeps for replacements like these. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/* Set by the linker: where this program's code lies, the engine's included. */
extern const char __executable_start[], etext[];

#define CALLED __attribute__((noinline)) /* in line, its caller would be the caller's */

static atomic_int watching;
static atomic_long own, largest;

static void note(const void *caller, size_t size)
{
    if (!atomic_load(&watching))
        return;
    if ((const char *)caller >= __executable_start && (const char *)caller < etext)
        atomic_fetch_add(&own, 1);
    for (long seen = atomic_load(&largest);
         (long)size > seen && !atomic_compare_exchange_weak(&largest, &seen, (long)size);)
        continue;
}

CALLED void *malloc(size_t size)
{
    note(__builtin_return_address(0), size);
    return __libc_malloc(size);
}

CALLED void *calloc(size_t n, size_t size)
{
    note(__builtin_return_address(0), n * size);
    return __libc_calloc(n, size);
}

CALLED void *realloc(void *memory, size_t size)
{
    note(__builtin_return_address(0), size);
    return __libc_realloc(memory, size);
}

CALLED void *aligned_alloc(size_t alignment, size_t size)
{
    note(__builtin_return_address(0), size);
    return __libc_memalign(alignment, size);
}

CALLED int posix_memalign(void **out, size_t alignment, size_t size)
{
    note(__builtin_return_address(0), size);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
#endif

enum { B = 4, T = 32, N = B * T, C = 64, L = 2, NH = 2, V = 5000, TRACKED = 6, STEPS = 4 };
enum { KEPT = 4 << 10 }; /* bytes: what pools may keep */
#define BEST "best"      /* argument: test_best alone */

static int32_t tracked[TRACKED] = {0, 5, 4999, 5, 17, 1};
static const struct groups groups = {
    .n = 2,
    .group = {{.n = 3, .ids = tracked}, {.n = 3, .ids = tracked + 3}},
    .n_tokens = TRACKED,
    .tokens = tracked,
};

struct bench {
    struct spec *spec;
    struct backend *backend;
    struct model *model;
    struct measure *measure;
    struct evaluation *evaluation;
    int64_t counts[V];
    double *values;
    float tokens[TRACKED];
    int32_t inputs[N], targets[N];
    uint8_t words[N];
    struct err err;
};

static void expect_done(struct bench *b, int result)
{
    if (result)
        fail_msg("%s", b->err.message);
}

static void bench_open(struct bench *b, enum spec_precision precision)
{
    memset(b, 0, sizeof *b);
    assert_non_null(b->spec = spec_default());
    b->spec->model.d_model = C;
    b->spec->model.n_layers = L;
    b->spec->model.n_heads = NH;
    b->spec->model.seq_len = T;
    b->spec->train.batch_size = B;
    b->spec->train.precision = precision;
    b->spec->train.grad_clip = 1;
    b->values = malloc((size_t)record_size(groups.n) * sizeof *b->values);
    assert_non_null(b->values);
    for (int v = 0; v < V; v++)
        b->counts[v] = v % 7;
    const struct frequency frequency = {.vocab = V, .counts = b->counts};
    expect_done(b, cpu_backend_open(2, precision, &b->backend, &b->err));
    expect_done(b, model_open(b->spec, V, &groups, b->backend, &b->model, &b->err));
    expect_done(b, model_initialise(b->model, &b->err));
    expect_done(b, measure_open(&groups, &frequency, B, T, C, &b->measure, &b->err));
    expect_done(b, evaluate_open(&groups, &frequency, B, T, C, &b->evaluation, &b->err));
    for (int n = 0; n < N; n++) {
        b->inputs[n] = (int32_t)random_below(1, RANDOM_TOKENS, (uint64_t)n, V);
        b->targets[n] = (int32_t)random_below(2, RANDOM_TOKENS, (uint64_t)n, V);
    }
}

static void bench_close(struct bench *b)
{
    measure_close(b->measure);
    evaluate_close(b->evaluation);
    model_close(b->model);
    b->backend->close(b->backend);
    spec_free(b->spec);
    free(b->values);
}

/* Every kind of step, and what is made of the observed ones. */
static void steps(struct bench *b, int64_t first)
{
    const struct model_observation *seen;
    const float *scores;
    double loss;
    for (int64_t step = first; step < first + STEPS; step++) {
        expect_done(b, model_gradient(b->model, b->inputs, b->targets, &loss, &seen, &b->err));
        measure_record(b->measure, seen, b->inputs, b->targets, b->values, b->tokens);
        expect_done(b, model_update(b->model, 2 * step + 1, &b->err));
        expect_done(b, model_gradient(b->model, b->inputs, b->targets, &loss, NULL, &b->err));
        expect_done(b, model_update(b->model, 2 * step + 2, &b->err));
        measure_count_targets(b->measure, b->targets);
        expect_done(b, model_evaluate(b->model, b->inputs, b->targets, &loss, &seen, &b->err));
        evaluate_begin(b->evaluation);
        evaluate_add(b->evaluation, seen, b->targets, b->words, B);
        expect_done(b, model_scores(b->model, evaluate_h(b->evaluation), &scores, &b->err));
        evaluate_text(b->evaluation, scores, b->values);
    }
}

static void check(enum spec_precision precision)
{
    struct bench b;
    bench_open(&b, precision);
    steps(&b, 0);
#ifdef WATCHED
    atomic_store(&own, 0);
    atomic_store(&largest, 0);
    const size_t before = mallinfo2().uordblks;
    atomic_store(&watching, 1);
    steps(&b, STEPS);
    atomic_store(&watching, 0);
    const size_t after = mallinfo2().uordblks;
    print_message("%s, %s: libraries borrow up to %ld bytes at once\n", b.backend->isa,
                  spec_precision_name(precision), atomic_load(&largest));
    if (atomic_load(&own) > 0 || after > before + KEPT)
        fail_msg("%s, %s: %ld allocations of our own, %lld bytes kept", b.backend->isa,
                 spec_precision_name(precision), atomic_load(&own),
                 (long long)after - (long long)before);
#endif
    bench_close(&b);
}

static void test_best(void **state)
{
    (void)state;
    check(PRECISION_FP32);
    check(PRECISION_BF16);
}

/* The instruction set of this name, if the processor has it: test_best in a process of its own,
 * because oneDNN keeps the first one that a process uses. */
static void test_isa(void **state)
{
    struct err err = ERR_INIT;
    enum cpu_isa isa;
    int status = -1;
    assert_int_equal(setenv("TOKENFATE_ISA", *state, 1), 0);
    const int is_here = cpu_isa_choose(&isa, &err) == 0;
    const pid_t child = is_here ? fork() : 0;
    if (is_here && child == 0) {
        execl("/proc/self/exe", "gpu_allocation", BEST, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(unsetenv("TOKENFATE_ISA"), 0);
    if (!is_here) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest best[] = {cmocka_unit_test(test_best)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_isa, "plain"),
        cmocka_unit_test_prestate(test_isa, "avx2"),
        cmocka_unit_test_prestate(test_isa, "avx512"),
        cmocka_unit_test_prestate(test_isa, "avx512_bf16"),
        cmocka_unit_test_prestate(test_isa, "amx"),
    };
#ifdef WATCHED
    /* That the counting counts. */
    atomic_store(&watching, 1);
    void *volatile memory = malloc(1);
    atomic_store(&watching, 0);
    free(memory);
    if (atomic_load(&own) != 1) {
        fprintf(stderr, "something else has replaced malloc: nothing can be counted\n");
        return 1;
    }
#endif
    return argc > 1 && strcmp(argv[1], BEST) == 0 ? cmocka_run_group_tests(best, NULL, NULL)
                                                  : cmocka_run_group_tests(tests, NULL, NULL);
}
