/* cuda_ops: one operation of the cuda backend on a real GPU against the reference,
 * several times with the same bits (tests/lib/ops_checks.h). A process for each,
 * so that a fault of the device ends one test and not all.
 *
 *   cuda_ops probe                   the device's name and bytes; or why not, status 1
 *   cuda_ops list                    names of the operations
 *   cuda_ops NAME fp32|bf16 [RUNS]   prints the largest relative error */
#include "gpu/cuda/cuda.h"
#include "tests/gpu/bare/cmocka.h"
#include "tests/gpu/bare/library.h"
#include "tests/lib/ops_checks.h"

enum { RUNS = 4 };

static const struct cuda_library *library;
static enum spec_precision precision;

static int open_backend(struct backend **out, struct err *err)
{
    return library->open(0, precision, out, err);
}

static const struct {
    const char *name;
    void (*check)(const struct ops_subject *subject);
} whole_checks[] = {
    {"head_without_statistics", ops_check_lm_head_without_statistics},
    {"forward_alone", ops_check_forward_alone},
    {"parts_add_up", ops_check_parts_add_up},
    {"divergence_shows", ops_check_divergence_shows},
    {"programs", ops_check_programs},
    {"bits_survive_the_device", ops_check_bits_survive_the_device},
};
enum { WHOLE_CHECKS = sizeof whole_checks / sizeof *whole_checks };

static void list(void)
{
    for (int i = 0; ops_name(i); i++)
        puts(ops_name(i));
    for (int i = 0; i < WHOLE_CHECKS; i++)
        puts(whole_checks[i].name);
}

static int check(const char *name, int runs)
{
    const struct ops_subject subject = {open_backend, precision == PRECISION_BF16 ? 1e-2 : 1e-5};
    for (int i = 0; i < WHOLE_CHECKS; i++)
        if (strcmp(name, whole_checks[i].name) == 0) {
            whole_checks[i].check(&subject);
            return EXIT_SUCCESS;
        }
    double worst = 0;
    const int cases = ops_check_operation(&subject, name, runs, &worst);
    printf("%d cases, largest error %.3g of %g\n", cases, worst, subject.allowed);
    return cases > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
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
    if (!library)
        fail_msg("%s", err.message);
    return check(argv[1], argc > 3 ? atoi(argv[3]) : RUNS);
}
