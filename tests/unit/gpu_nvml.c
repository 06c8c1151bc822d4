/* What the cards say of themselves, on a made-up machine (tests/cards): found by
 * UUID however CUDA counts them, slices of a card, and what is not told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/nvml.h"
#include "tests/cards/cards.h"

enum { MIB = 1 << 20 };

static struct nvml *opened(void)
{
    struct nvml *nvml = NULL;
    struct err err = ERR_INIT;
    if (nvml_open(&nvml, &err) != 0)
        fail_msg("%s", err.message);
    return nvml;
}

static int forget(void **state)
{
    (void)state;
    static const char *const names[] = {"CARDS", "CARDS_SLICES", "CARDS_STATE", "CARDS_OWN",
                                        "CUDA_VISIBLE_DEVICES"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    return 0;
}

static struct nvml_reading reading(struct nvml *nvml, int number)
{
    struct nvml_reading out = {0};
    struct err err = ERR_INIT;
    if (nvml_read(nvml, number, &out, &err) != 0)
        fail_msg("%s", err.message);
    return out;
}

static void test_reading(void **state)
{
    (void)state;
    struct nvml *nvml = opened();
    assert_string_equal(nvml_driver(nvml), "580.99.01");
    assert_int_equal(nvml_devices(nvml), 2);
    const struct nvml_reading second = reading(nvml, 1);
    assert_int_equal(second.total_bytes, (int64_t)CARDS_MEMORY_MIB * MIB);
    assert_int_equal(second.used_bytes, (int64_t)1034 * MIB);
    assert_int_equal(second.utilisation, 7);
    assert_int_equal(second.temperature, 41);
    assert_int_equal(nvml_own_bytes(nvml, 1), (int64_t)600 * MIB);
    setenv("CARDS_OWN", "0", 1);
    assert_int_equal(nvml_own_bytes(nvml, 1), NVML_UNKNOWN);
    assert_int_equal(nvml_own_bytes(nvml, 7), NVML_UNKNOWN);
    nvml_close(nvml);
}

/* CUDA's first device is the card that NVML knows as the third. */
static void test_order(void **state)
{
    (void)state;
    setenv("CARDS", "4", 1);
    setenv("CUDA_VISIBLE_DEVICES", "2,0", 1);
    struct nvml *nvml = opened();
    assert_int_equal(nvml_devices(nvml), 2);
    assert_int_equal(reading(nvml, 0).temperature, 42);
    assert_int_equal(reading(nvml, 1).temperature, 40);
    nvml_close(nvml);
}

/* A slice's memory is its own, the temperature is its card's, utilisation nobody's. */
static void test_slice(void **state)
{
    (void)state;
    setenv("CARDS", "3", 1);
    setenv("CARDS_SLICES", "1", 1);
    setenv("CUDA_VISIBLE_DEVICES", "2", 1);
    struct nvml *nvml = opened();
    const struct nvml_reading slice = reading(nvml, 0);
    assert_int_equal(slice.used_bytes, (int64_t)1044 * MIB);
    assert_int_equal(slice.utilisation, NVML_UNKNOWN);
    assert_int_equal(slice.temperature, 42);
    nvml_close(nvml);
}

static void test_missing(void **state)
{
    (void)state;
    struct nvml *nvml = opened();
    struct nvml_reading out = {.used_bytes = 5};
    struct err err = ERR_INIT;
    assert_int_equal(nvml_read(nvml, 2, &out, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_string_equal(err.message, "CUDA does not tell the UUID of device 2");
    assert_int_equal(out.used_bytes, 5);
    nvml_close(nvml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_reading, forget),
        cmocka_unit_test_teardown(test_order, forget),
        cmocka_unit_test_teardown(test_slice, forget),
        cmocka_unit_test_teardown(test_missing, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
