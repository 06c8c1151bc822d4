/* Every operation of the cpu backend (tests/lib/ops_checks.h) on one thread, on
 * more threads than some cases have work for, and twice the same bits; what
 * opening and allocating refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "tests/lib/ops_checks.h"

#define ALLOWED 5e-6 /* float32 against double */

static int open_with_one_thread(struct backend **out, struct err *err)
{
    return cpu_backend_open(1, out, err);
}

static int open_with_two_threads(struct backend **out, struct err *err)
{
    return cpu_backend_open(2, out, err);
}

static int open_with_three_threads(struct backend **out, struct err *err)
{
    return cpu_backend_open(3, out, err);
}

static const struct ops_subject one_thread = {open_with_one_thread, ALLOWED};
static const struct ops_subject two_threads = {open_with_two_threads, ALLOWED};
static const struct ops_subject three_threads = {open_with_three_threads, ALLOWED};

static void test_equality_one_thread(void **state)
{
    (void)state;
    ops_check_cases(&one_thread, 1, NULL);
}

static void test_equality_many_threads(void **state)
{
    (void)state;
    ops_check_cases(&three_threads, 1, NULL);
}

static void test_same_bits_every_run(void **state)
{
    (void)state;
    ops_check_cases(&two_threads, 4, NULL);
}

static void test_gradients(void **state)
{
    (void)state;
    ops_check_gradients_of_ref();
}

static void test_head_without_statistics(void **state)
{
    (void)state;
    ops_check_head_without_statistics(&two_threads);
}

static void test_parts_add_up(void **state)
{
    (void)state;
    ops_check_parts_add_up(&two_threads);
}

static void test_divergence_shows(void **state)
{
    (void)state;
    ops_check_divergence_shows(&two_threads);
}

static void test_bits_survive_the_device(void **state)
{
    (void)state;
    ops_check_bits_survive_the_device(&one_thread);
}

static void test_refusals(void **state)
{
    (void)state;
    struct backend *cpu = NULL;
    struct err err;
    err_clear(&err);
    assert_int_equal(cpu_backend_open(-1, &cpu, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(cpu_backend_open(CPU_THREADS_MAX + 1, &cpu, &err), -1);
    assert_null(cpu);
    err_clear(&err);
    assert_int_equal(cpu_backend_open(0, &cpu, &err), 0);
    assert_true(cpu->threads >= 1);
    assert_true(cpu->isa[0] && cpu->device[0] && strstr(cpu->isa, ", oneDNN 2."));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality_one_thread),
        cmocka_unit_test(test_equality_many_threads),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_head_without_statistics),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_divergence_shows),
        cmocka_unit_test(test_same_bits_every_run),
        cmocka_unit_test(test_bits_survive_the_device),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
