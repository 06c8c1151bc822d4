/* The cuda backend on a real GPU: every operation against the reference, float32
 * and bfloat16, four times with the same bits. Needs the shared object of the
 * backend and the libraries of CUDA, nothing else of this program's: a machine
 * with a GPU may be bare.
 *
 *   cuda_device [--probe]      the library: $TOKENFATE_BUILD (or build)/libtokenfate-cuda.so
 *
 * --probe says on one line whether there is a device, with status 0, or why not. */
#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gpu/cuda/cuda.h"
#include "tests/lib/ops_checks.h"

enum { RUNS = 4 };

static const struct cuda_library *library;

static int open_fp32(struct backend **out, struct err *err)
{
    return library->open(0, PRECISION_FP32, out, err);
}

static int open_bf16(struct backend **out, struct err *err)
{
    return library->open(0, PRECISION_BF16, out, err);
}

static const struct ops_subject fp32 = {open_fp32, 1e-5}, bf16 = {open_bf16, 1e-2};

static void test_fp32(void **state)
{
    (void)state;
    ops_check_cases(&fp32, RUNS, NULL);
}

static void test_bf16(void **state)
{
    (void)state;
    ops_check_cases(&bf16, RUNS, NULL);
}

static void test_head_without_statistics(void **state)
{
    (void)state;
    ops_check_head_without_statistics(&fp32);
    ops_check_head_without_statistics(&bf16);
}

static void test_parts_add_up(void **state)
{
    (void)state;
    ops_check_parts_add_up(&fp32);
    ops_check_parts_add_up(&bf16);
}

static void test_divergence_shows(void **state)
{
    (void)state;
    ops_check_divergence_shows(&fp32);
    ops_check_divergence_shows(&bf16);
}

static void test_bits_survive_the_device(void **state)
{
    (void)state;
    ops_check_bits_survive_the_device(&fp32);
    ops_check_bits_survive_the_device(&bf16);
}

static int load(char name[BACKEND_DEVICE_MAX], struct err *err)
{
    char path[PATH_MAX];
    int64_t bytes;
    const char *build = getenv("TOKENFATE_BUILD");
    snprintf(path, sizeof path, "./%s/" CUDA_LIBRARY, build ? build : "build");
    if (build && build[0] == '/')
        snprintf(path, sizeof path, "%s/" CUDA_LIBRARY, build);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    library = object ? dlsym(object, CUDA_LIBRARY_SYMBOL) : NULL;
    if (!library)
        return err_set(err, ERR_UNAVAILABLE, "%s", dlerror());
    return library->probe(0, name, &bytes, err);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_head_without_statistics),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_divergence_shows),
        cmocka_unit_test(test_bits_survive_the_device),
    };
    char name[BACKEND_DEVICE_MAX];
    struct err err;
    err_clear(&err);
    const int found = load(name, &err) == 0;
    if (!found || (argc > 1 && strcmp(argv[1], "--probe") == 0)) {
        puts(found ? name : err.message);
        return found ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
