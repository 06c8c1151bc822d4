/* Every operation of the cpu backend (gpu/ref/ops.h) on one thread, on
 * more threads than some cases have work for, and twice the same bits; with the
 * code for every instruction set that this machine has; what opening and
 * allocating refuse. The program runs itself once for each instruction set, named
 * by TOKENFATE_ISA: oneDNN keeps to one in the life of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_isa.h"
#include "tests/lib/ops_asserts.h"

#define ONE_ISA "one-isa" /* argument of the program's runs of itself */

extern char **environ;

static int open_with_one_thread(struct backend **out, struct err *err)
{
    return cpu_backend_open(1, PRECISION_FP32, out, err);
}

static int open_with_two_threads(struct backend **out, struct err *err)
{
    return cpu_backend_open(2, PRECISION_FP32, out, err);
}

static int open_with_three_threads(struct backend **out, struct err *err)
{
    return cpu_backend_open(3, PRECISION_FP32, out, err);
}

static int open_bf16(struct backend **out, struct err *err)
{
    return cpu_backend_open(2, PRECISION_BF16, out, err);
}

/* On one thread and on three; on two, four times, in test_same_bits_every_run. */
static void test_equality_fp32(void **state)
{
    (void)state;
    assert_cases(open_with_one_thread, open_with_three_threads, 1, NULL);
}

static void test_equality_bf16(void **state)
{
    (void)state;
    assert_cases(open_bf16, NULL, 2, NULL);
}

static void test_same_bits_every_run(void **state)
{
    (void)state;
    assert_cases(open_with_two_threads, NULL, 4, NULL);
}

/* The gradient's sum of squares is one number, whoever makes it: the optimiser in its
 * pass, or the operation alone. */
static void test_one_sum_of_squares(void **state)
{
    (void)state;
    const int64_t sizes[] = {1, 1000, 140001, 600001}; /* on one thread and on more */
    for (int threads = 1; threads <= 3; threads++) {
        struct backend *be;
        struct err err = ERR_INIT;
        assert_int_equal(cpu_backend_open(threads, PRECISION_FP32, &be, &err), 0);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const int64_t n = sizes[i];
            float *gradient = malloc((size_t)n * sizeof *gradient);
            float *w = calloc((size_t)n, sizeof *w), alone = 3, in_pass = 3;
            assert_true(gradient && w);
            for (int64_t k = 0; k < n; k++)
                gradient[k] = (float)cos((double)k);
            const struct backend_update update = {
                .kind = OPTIMIZER_SGD, .scalars = (const float[]){0.1f, 1, 1}, .summed = &in_pass};
            be->sum_squares(be, &alone, gradient, n);
            be->update(be, &update, w, NULL, gradient, NULL, NULL, n);
            assert_true(alone > 3 && alone == in_pass);
            free(gradient);
            free(w);
        }
        be->close(be);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    if (ops_check_gradients_of_ref(&err) != 0)
        fail_msg("%s", err.message);
}

static void test_head_without_statistics(void **state)
{
    (void)state;
    assert_check(open_with_two_threads, ops_check_lm_head_without_statistics);
}

static void test_forward_alone(void **state)
{
    (void)state;
    assert_check(open_with_two_threads, ops_check_forward_alone);
    assert_check(open_bf16, ops_check_forward_alone);
}

static void test_parts_add_up(void **state)
{
    (void)state;
    assert_check(open_with_two_threads, ops_check_parts_add_up);
}

static void test_divergence_shows(void **state)
{
    (void)state;
    assert_check(open_with_two_threads, ops_check_divergence_shows);
}

static void test_programs(void **state)
{
    (void)state;
    assert_check(open_with_one_thread, ops_check_programs);
}

static void test_bits_survive_the_device(void **state)
{
    (void)state;
    assert_check(open_with_one_thread, ops_check_bits_survive_the_device);
}

static void test_refusals(void **state)
{
    (void)state;
    struct backend *cpu = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(cpu_backend_open(-1, PRECISION_FP32, &cpu, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(cpu_backend_open(CPU_THREADS_MAX + 1, PRECISION_FP32, &cpu, &err), -1);
    assert_null(cpu);
    err_clear(&err);
    assert_int_equal(cpu_backend_open(0, PRECISION_FP32, &cpu, &err), 0);
    assert_true(cpu->threads >= 1);
    assert_true(cpu->isa[0] && cpu->device[0] && strstr(cpu->isa, ", oneDNN 2.") &&
                strstr(cpu->isa, ", gcc ") && strstr(cpu->isa, ", glibc "));
    err_clear(&err);
    assert_null(cpu->alloc(cpu, INT64_C(1) << 60, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
    assert_non_null(strstr(err.message, "1152921504606846976 bytes"));
    struct backend gap = *cpu;
    gap.gather_rows = NULL;
    assert_int_equal(backend_check(&gap, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.message, "gather_rows"));
    cpu->close(cpu);
}

static int exit_status_of_self(const char *isa)
{
    char *arguments[] = {"/proc/self/exe", ONE_ISA, NULL};
    pid_t pid;
    int status;
    assert_int_equal(setenv("TOKENFATE_ISA", isa, 1), 0);
    assert_int_equal(posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(unsetenv("TOKENFATE_ISA"), 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    enum cpu_isa best;
    struct err err = ERR_INIT;
    assert_int_equal(cpu_isa_choose(&best, &err), 0);
    for (int isa = 0; isa < (int)best; isa++) /* the best one is this run's */
        if (exit_status_of_self(cpu_isa_name((enum cpu_isa)isa)) != 0)
            fail_msg("instruction set %s", cpu_isa_name((enum cpu_isa)isa));
}

static void test_isa_refusals(void **state)
{
    (void)state;
    enum cpu_isa isa = CPU_ISAS;
    struct err err = ERR_INIT;
    assert_int_equal(setenv("TOKENFATE_ISA", "mmx", 1), 0);
    assert_int_equal(cpu_isa_choose(&isa, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.message, "\"mmx\""));
    assert_int_equal(setenv("TOKENFATE_ISA", "plain", 1), 0);
    assert_int_equal(cpu_isa_choose(&isa, &err), 0);
    assert_int_equal(isa, CPU_ISA_PLAIN);
    assert_int_equal(setenv("TOKENFATE_ISA", "", 1), 0);
    assert_int_equal(cpu_isa_choose(&isa, &err), 0);
    assert_int_equal(unsetenv("TOKENFATE_ISA"), 0);
    if (isa < CPU_ISA_AMX) {
        assert_int_equal(setenv("TOKENFATE_ISA", "amx", 1), 0);
        assert_int_equal(cpu_isa_choose(&isa, &err), -1);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        assert_int_equal(unsetenv("TOKENFATE_ISA"), 0);
    }
}

/* A bfloat16 is the upper half of a float32: all of them survive, and what lies
 * between two goes to the nearer one, from the middle to the even one. */
static void test_bf16_rounding(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        const uint16_t x = (uint16_t)i;
        const float value = cpu_from_bf16(x);
        if (isnan(value))
            assert_true(isnan(cpu_from_bf16(cpu_to_bf16(value))));
        else
            assert_int_equal(cpu_to_bf16(value), x);
    }
    assert_int_equal(cpu_to_bf16(0x1.00fffep0f), 0x3f80); /* just below the middle */
    assert_int_equal(cpu_to_bf16(0x1.01p0f), 0x3f80);     /* the middle: even is below */
    assert_int_equal(cpu_to_bf16(0x1.03p0f), 0x3f82);     /* the middle: even is above */
    assert_int_equal(cpu_to_bf16(-0x1.010002p0f), 0xbf81);
    assert_int_equal(cpu_to_bf16(0x1.fffffep127f), 0x7f80);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest one_isa[] = {
        cmocka_unit_test(test_equality_fp32),           cmocka_unit_test(test_equality_bf16),
        cmocka_unit_test(test_head_without_statistics), cmocka_unit_test(test_divergence_shows),
        cmocka_unit_test(test_forward_alone),
    };
    if (argc > 1 && strcmp(argv[1], ONE_ISA) == 0)
        return cmocka_run_group_tests(one_isa, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality_fp32),
        cmocka_unit_test(test_equality_bf16),
        cmocka_unit_test(test_one_sum_of_squares),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_head_without_statistics),
        cmocka_unit_test(test_forward_alone),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_divergence_shows),
        cmocka_unit_test(test_same_bits_every_run),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_bits_survive_the_device),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_every_instruction_set),
        cmocka_unit_test(test_isa_refusals),
        cmocka_unit_test(test_bf16_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
