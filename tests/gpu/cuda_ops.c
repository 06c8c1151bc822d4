/* cuda_ops: one operation of the cuda backend on a real GPU against the reference,
 * several times with the same bits (gpu/ref/ops.h). A process for each, so that a
 * fault of the device ends one test and not all.
 *
 *   cuda_ops probe                   the device's name and bytes; or why not, status 1
 *   cuda_ops list                    names of the operations
 *   cuda_ops NAME fp32|bf16 [RUNS]   prints the largest relative error */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda/cuda.h"
#include "gpu/ref/ops.h"
#include "tests/gpu/bare/library.h"

enum { RUNS = 4 };

static const struct cuda_library *library;
static enum spec_precision precision;

static void list(void)
{
    for (int i = 0; ops_name(i); i++)
        puts(ops_name(i));
    for (int i = 0; ops_promise(i); i++)
        puts(ops_promise(i));
}

static int check_operation(struct backend *backend, const char *name, int runs, struct err *err)
{
    struct ops_worst worst;
    const int cases = ops_check_operation(backend, name, runs, NULL, &worst, err);
    if (cases > 0)
        printf("%d cases, largest error %.3g of %.3g, in case %d, array %d\n", cases, worst.error,
               worst.bound, worst.case_number, worst.array);
    return cases > 0 ? 0 : -1;
}

static int check(const char *name, int runs, struct err *err)
{
    struct backend *backend;
    int i = 0;
    if (library->open(0, precision, &backend, err) != 0)
        return -1;
    while (ops_promise(i) && strcmp(name, ops_promise(i)) != 0)
        i++;
    return ops_promise(i) ? ops_check_promise(backend, i, err)
                          : check_operation(backend, name, runs, err);
}

static int probe(void)
{
    char name[BACKEND_DEVICE_MAX];
    int64_t bytes;
    struct err err = ERR_INIT;
    library = bare_library(&err);
    const int found = library && library->query(0, name, &bytes, &err) == 0;
    if (found)
        printf("%s, %lld bytes\n", name, (long long)bytes);
    else
        puts(err.message);
    return found ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc == 2 && strcmp(argv[1], "probe") == 0)
        return probe();
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list();
        return EXIT_SUCCESS;
    }
    precision = argc > 2 ? bare_precision(argv[2]) : PRECISION_AUTO;
    if (precision == PRECISION_AUTO) {
        fputs("usage: cuda_ops probe | list | NAME fp32|bf16 [RUNS]\n", stderr);
        return 2;
    }
    library = bare_library(&err);
    if (library && check(argv[1], argc > 3 ? atoi(argv[3]) : RUNS, &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "%s\n", err.message);
    return EXIT_FAILURE;
}
