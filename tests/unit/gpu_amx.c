/* The fused head's products in AMX's blocks (gpu/cpu/cpu_amx.h), on any machine with
 * AVX-512 BF16: the head is compiled once more with the twin of AMX's instructions
 * in plain C, takes its place in a backend, and must pass what every head passes.
 * With AMX itself tests/unit/gpu_ops.c runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_internal.h"
#include "tests/lib/ops_asserts.h"

int64_t cpu_amx_twin_steps;

#if defined(__x86_64__)
static int there_is_bf16(void)
{
    enum cpu_isa isa;
    struct err err = ERR_INIT;
    return cpu_isa_choose(&isa, &err) == 0 && isa >= CPU_ISA_AVX512_BF16;
}

static int open_twin(struct backend **out, struct err *err)
{
    if (cpu_backend_open(2, PRECISION_BF16, out, err) != 0)
        return -1;
    cpu_fused_amx_twin(cpu_of(*out));
    return 0;
}
#else
static int there_is_bf16(void)
{
    return 0;
}

static int open_twin(struct backend **out, struct err *err)
{
    return cpu_backend_open(2, PRECISION_BF16, out, err);
}
#endif

static void test_equality(void **state)
{
    (void)state;
    if (!there_is_bf16())
        skip();
    cpu_amx_twin_steps = 0;
    assert_operation(open_twin, "lm_head", 2);
    assert_true(cpu_amx_twin_steps > 0);
}

static void test_statistics_change_nothing(void **state)
{
    (void)state;
    if (!there_is_bf16())
        skip();
    assert_check(open_twin, ops_check_lm_head_without_statistics);
    assert_check(open_twin, ops_check_forward_alone);
}

static void test_divergence_shows(void **state)
{
    (void)state;
    if (!there_is_bf16())
        skip();
    assert_check(open_twin, ops_check_divergence_shows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_statistics_change_nothing),
        cmocka_unit_test(test_divergence_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
