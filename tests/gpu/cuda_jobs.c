/* cuda_jobs: what a trainer that lives across jobs meets on a real GPU.
 *
 *   cuda_jobs series             jobs of many shapes on one opened backend, which is opened
 *                                anew in the other precision in between; some evaluate
 *   cuda_jobs long fp32|bf16 [SHAPES]
 *                                products over more than 11000 positions, no multiple of 64:
 *                                of ones, so that every number is known exactly */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/gpu/bare/library.h"
#include "tests/lib/job_series.h"

enum { JOBS = 60, TURN = 30 }; /* jobs; of them in one precision before the other's turn */

static _Noreturn void fail(const struct err *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(EXIT_FAILURE);
}

static struct backend *open_backend(const struct cuda_library *library,
                                    enum spec_precision precision)
{
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    if (library->open(0, precision, &backend, &err) != 0)
        fail(&err);
    return backend;
}

static void check_series(const struct cuda_library *library)
{
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    double loss = NAN;
    for (int i = 0; i < JOBS; i++) {
        const struct job_series_shape shape = job_series_shape(i);
        if (i % TURN == 0 && backend)
            backend->close(backend);
        if (i % TURN == 0)
            backend = open_backend(library, i / TURN % 2 ? PRECISION_BF16 : PRECISION_FP32);
        if (job_series_run(backend, &shape, &loss, &err) != 0)
            fail(&err);
    }
    backend->close(backend);
    printf("%d jobs, the last one's loss %.6f\n", JOBS, loss);
}

/* ---- long products ---- */

/* Positions at which others have seen the library lose a part, or at which its conditions hold;
 * widths of small and of large layers. */
static const int positions[] = {11528, 8648, 11265, 16385};
static const struct widths {
    int in, out;
} widths[] = {{8, 8}, {128, 384}, {768, 768}, {768, 3072}};
enum { POSITIONS = sizeof positions / sizeof *positions, WIDTHS = sizeof widths / sizeof *widths };

static void *ones(struct backend *be, float *host, int64_t n, struct err *err)
{
    void *memory = be->alloc(be, n * (int64_t)sizeof(float), err);
    if (!memory)
        fail(err);
    be->upload(be, memory, NUMBER_ACT, host, NUMBER_FLOAT, n);
    return memory;
}

static void expect(struct backend *be, const char *what, const void *memory,
                   enum backend_number number, float *host, int64_t n, int expected)
{
    struct err err = ERR_INIT;
    if (be->download(be, host, NUMBER_FLOAT, memory, number, n, &err) != 0)
        fail(&err);
    for (int64_t i = 0; i < n; i++)
        if (host[i] != (float)expected) {
            err_set(&err, ERR_INTERNAL, "%s: number %lld is %g, not %d", what, (long long)i,
                    (double)host[i], expected);
            fail(&err);
        }
}

/* dweight [I, O] = x^T dout over N positions: N everywhere. dx [N, I] = dout weight^T: O everywhere,
 * which bfloat16 can hold for these widths. */
static void check_product(struct backend *be, int N, struct widths width)
{
    const int64_t most = (int64_t)N * (width.in > width.out ? width.in : width.out);
    const int64_t weights = (int64_t)width.in * width.out, all = most > weights ? most : weights;
    struct err err = ERR_INIT;
    float *host = malloc((size_t)all * sizeof *host);
    if (!host) {
        err_set(&err, ERR_NO_MEMORY, "no memory for %lld numbers", (long long)all);
        fail(&err);
    }
    for (int64_t i = 0; i < all; i++)
        host[i] = 1;
    void *x = ones(be, host, (int64_t)N * width.in, &err);
    void *dout = ones(be, host, (int64_t)N * width.out, &err);
    void *weight = ones(be, host, weights, &err), *dweight = ones(be, host, weights, &err);
    void *dbias = ones(be, host, width.out, &err);
    be->matmul_backward_weight(be, dweight, dbias, x, dout, N, width.in, width.out);
    expect(be, "gradient of a weight", dweight, NUMBER_REAL, host, weights, N);
    expect(be, "gradient of a bias", dbias, NUMBER_REAL, host, width.out, N);
    be->matmul_backward_input(be, x, dout, weight, N, width.in, width.out);
    expect(be, "gradient of an input", x, NUMBER_ACT, host, (int64_t)N * width.in, width.out);
    void *const taken[] = {x, dout, weight, dweight, dbias};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        be->free(be, taken[i]);
    free(host);
}

static void check_long(const struct cuda_library *library, enum spec_precision precision, int n)
{
    struct backend *backend = open_backend(library, precision);
    for (int w = 0; w < n; w++)
        for (int p = 0; p < POSITIONS; p++)
            check_product(backend, positions[p], widths[w]);
    backend->close(backend);
    printf("%d products over %d to %d positions, every number exact\n", n * POSITIONS, positions[1],
           positions[POSITIONS - 1]);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    const int is_series = argc == 2 && strcmp(argv[1], "series") == 0;
    const enum spec_precision precision = argc > 2 ? bare_precision(argv[2]) : PRECISION_AUTO;
    const int n = argc > 3 ? atoi(argv[3]) : WIDTHS;
    if (!is_series &&
        (precision == PRECISION_AUTO || strcmp(argv[1], "long") != 0 || n < 1 || n > WIDTHS)) {
        fputs("usage: cuda_jobs series | long fp32|bf16 [SHAPES]\n", stderr);
        return 2;
    }
    const struct cuda_library *library = bare_library(&err);
    if (!library)
        fail(&err);
    if (is_series)
        check_series(library);
    else
        check_long(library, precision, n);
    return EXIT_SUCCESS;
}
