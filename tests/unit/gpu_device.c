/* Devices by name: what a name means, and the exact reason why one cannot be had.
 * A shared object of the cuda backend is never beside a test program, so that
 * every reason here is the same on a machine with a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cpu/cpu.h"
#include "gpu/cpu/cpu_isa.h"
#include "gpu/cuda/cuda.h"
#include "gpu/device.h"

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *device;
        int number;
    } cases[] = {{"cuda", 0},    {"cuda:0", 0},           {"cuda:15", 15}, {"cpu", -1},
                 {"cuda:", -1},  {"cuda:-1", -1},         {"cuda: 1", -1}, {"cuda:1x", -1},
                 {"cuda0", -1},  {"CUDA:0", -1},          {"", -1},        {"cuda:+1", -1},
                 {"cuda:07", 7}, {"cuda:99999999999", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(device_cuda_number(cases[i].device), cases[i].number);
}

static void test_precision(void **state)
{
    (void)state;
    assert_int_equal(device_precision("cuda:1", PRECISION_AUTO), PRECISION_BF16);
    assert_int_equal(device_precision("cuda:1", PRECISION_FP32), PRECISION_FP32);
    assert_int_equal(device_precision("cpu", PRECISION_FP32), PRECISION_FP32);
    assert_int_equal(device_precision("cpu", PRECISION_BF16), PRECISION_BF16);
}

static void check_opens_in(enum spec_precision asked, enum spec_precision expected)
{
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(device_precision("cpu", asked), expected);
    assert_int_equal(device_open("cpu", 1, asked, "test", &backend, &err), 0);
    assert_int_equal(backend->precision, expected);
    assert_int_equal(backend->act_bytes, expected == PRECISION_BF16 ? 2 : 4);
    backend->close(backend);
}

/* On a processor auto is bf16 only with instructions for it, or as if without
 * them where TOKENFATE_ISA says so; what is asked for by name is always had. */
static void test_precision_of_the_processor(void **state)
{
    (void)state;
    enum cpu_isa best;
    struct err err = ERR_INIT;
    const char *set = getenv("TOKENFATE_ISA");
    char *before = set ? strdup(set) : NULL;
    assert_int_equal(unsetenv("TOKENFATE_ISA"), 0);
    assert_int_equal(cpu_isa_choose(&best, &err), 0);
    for (int isa = 0; isa <= (int)best; isa++) {
        assert_int_equal(setenv("TOKENFATE_ISA", cpu_isa_name((enum cpu_isa)isa), 1), 0);
        const enum spec_precision expected =
            isa >= CPU_ISA_AVX512_BF16 ? PRECISION_BF16 : PRECISION_FP32;
        assert_int_equal(device_precision("cpu", PRECISION_AUTO), expected);
        /* One process runs oneDNN for one instruction set; plain does without it. */
        if (isa != CPU_ISA_PLAIN && isa != (int)best)
            continue;
        check_opens_in(PRECISION_AUTO, expected);
        check_opens_in(PRECISION_BF16, PRECISION_BF16);
        check_opens_in(PRECISION_FP32, PRECISION_FP32);
    }
    assert_int_equal(setenv("TOKENFATE_ISA", "no such", 1), 0);
    assert_int_equal(device_precision("cpu", PRECISION_AUTO), PRECISION_FP32);
    assert_int_equal(before ? setenv("TOKENFATE_ISA", before, 1) : unsetenv("TOKENFATE_ISA"), 0);
    free(before);
}

static void test_cpu_opens(void **state)
{
    (void)state;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(device_open("cpu", 1, PRECISION_AUTO, "test", &backend, &err), 0);
    assert_string_equal(backend->name, "cpu");
    assert_int_equal(backend->threads, 1);
    backend->close(backend);
    assert_int_equal(
        device_open("cpu", CPU_THREADS_MAX + 1, PRECISION_AUTO, "test", &backend, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        const char *device, *reason;
    } cases[] = {
        {"cuda:0", "device cuda:0: this build has no CUDA backend: no " CUDA_LIBRARY},
        {"cuda:3", "device cuda:3: this build has no CUDA backend"},
        {"gpu", "device gpu: not cpu, cuda or cuda:N"},
        {"", "device : not cpu, cuda or cuda:N"},
    };
    char name[BACKEND_DEVICE_MAX] = "unchanged";
    int64_t bytes = 42;
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct backend *backend = NULL;
        assert_int_equal(device_open(cases[i].device, 1, PRECISION_AUTO, "test", &backend, &err),
                         -1);
        assert_null(backend);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        if (!strstr(err.message, cases[i].reason))
            fail_msg("\"%s\" is not in: %s", cases[i].reason, err.message);
    }
    assert_int_equal(device_cuda_query(0, "test", name, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_string_equal(name, "unchanged");
    assert_int_equal(bytes, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_precision),
        cmocka_unit_test(test_precision_of_the_processor),
        cmocka_unit_test(test_cpu_opens),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
