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
    assert_int_equal(device_precision("cpu", PRECISION_AUTO), PRECISION_FP32);
    assert_int_equal(device_precision("cpu", PRECISION_BF16), PRECISION_BF16);
}

static void test_cpu_opens(void **state)
{
    (void)state;
    struct backend *backend = NULL;
    struct err err;
    err_clear(&err);
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
    struct err err;
    err_clear(&err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct backend *backend = NULL;
        assert_int_equal(device_open(cases[i].device, 1, PRECISION_AUTO, "test", &backend, &err),
                         -1);
        assert_null(backend);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        if (!strstr(err.message, cases[i].reason))
            fail_msg("\"%s\" is not in: %s", cases[i].reason, err.message);
    }
    assert_int_equal(device_cuda_probe(0, "test", name, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_string_equal(name, "unchanged");
    assert_int_equal(bytes, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_precision),
        cmocka_unit_test(test_cpu_opens),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
