/* Many jobs on one opened cuda backend, on the processor (tests/lib/cuda_host.h), as a
 * trainer that lives across jobs runs them: products of more shapes than are kept, no
 * question to the library while a step is recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "gpu/cuda/cuda.h"
#include "tests/lib/cuda_host_control.h"
#include "tests/lib/job_series.h"

enum { JOBS = 60, TURN = 30 }; /* jobs; of them in one precision before the other's turn */

static struct backend *open_backend(enum spec_precision precision)
{
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    if (cuda_backend_open(0, precision, &backend, &err) != 0)
        fail_msg("%s", err.message);
    return backend;
}

static void test_many_shapes_in_one_trainer(void **state)
{
    (void)state;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    double loss;
    cuda_host_products = (struct cuda_host_products){0};
    for (int i = 0; i < JOBS; i++) {
        const struct job_series_shape shape = job_series_shape(i);
        if (i % TURN == 0 && backend)
            backend->close(backend);
        if (i % TURN == 0)
            backend = open_backend(i / TURN % 2 ? PRECISION_BF16 : PRECISION_FP32);
        if (job_series_run(backend, &shape, &loss, &err) != 0)
            fail_msg("%s", err.message);
    }
    backend->close(backend);
    assert_true(cuda_host_products.queries > 17 * JOBS);
    assert_int_equal(cuda_host_products.alive, 0);
    assert_int_equal(cuda_host_objects(), 0);
    assert_int_equal(cuda_host_allocated(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_shapes_in_one_trainer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
