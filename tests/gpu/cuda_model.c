/* cuda_model: the whole model on a real GPU (gpu/ref/whole.h).
 *
 *   cuda_model gradient fp32|bf16 SHAPE
 *       losses, statistics and every tensor's gradient of one batch against the
 *       reference in double; prints the largest relative error
 *   cuda_model repeat fp32|bf16 SHAPE
 *       eight steps of training twice, measured or not: the same bits
 *   cuda_model memory fp32|bf16 SHAPE
 *       what the driver takes for an opened card and beside a training job, against
 *       what jobs are admitted by (lab/memory.h); to be run alone on the card
 *   cuda_model list
 *       names of the shapes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/ref/whole.h"
#include "lab/memory.h"
#include "tests/gpu/bare/library.h"

static int check_gradient(const struct cuda_library *library, struct backend *backend,
                          enum whole_shape shape, struct err *err)
{
    struct whole_worst worst;
    (void)library;
    if (whole_check_gradient(backend, shape, &worst, err) != 0)
        return -1;
    printf("largest error %.3g of %.3g, %s\n", worst.error, worst.bound, worst.what);
    return 0;
}

static int check_repeat(const struct cuda_library *library, struct backend *backend,
                        enum whole_shape shape, struct err *err)
{
    (void)library;
    return whole_check_repeat(backend, shape, err);
}

static int check_memory(const struct cuda_library *library, struct backend *backend,
                        enum whole_shape shape, struct err *err)
{
    char name[BACKEND_DEVICE_MAX];
    int64_t whole, job, left;
    if (library->query(0, name, &whole, err) != 0 ||
        whole_measure_memory(backend, shape, &job, &left, err) != 0)
        return -1;
    const int64_t beside = whole - left - job, allowed = memory_beside("cuda", 0);
    printf("%lld bytes beside a job of %lld, %lld allowed; %lld after it\n", (long long)beside,
           (long long)job, (long long)allowed, (long long)(whole - backend->available(backend)));
    return beside <= allowed ? 0 : err_set(err, ERR_NO_MEMORY, "more than a job is admitted by");
}

static const struct {
    const char *name;
    int (*check)(const struct cuda_library *library, struct backend *backend,
                 enum whole_shape shape, struct err *err);
} commands[] = {{"gradient", check_gradient}, {"repeat", check_repeat}, {"memory", check_memory}};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int run(int command, enum spec_precision precision, enum whole_shape shape, struct err *err)
{
    struct backend *backend;
    const struct cuda_library *library = bare_library(err);
    return library && library->open(0, precision, &backend, err) == 0
               ? commands[command].check(library, backend, shape, err)
               : -1;
}

int main(int argc, char **argv)
{
    int shape = 0, command = 0;
    struct err err = ERR_INIT;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < WHOLE_SHAPES; i++)
            puts(whole_name((enum whole_shape)i));
        return EXIT_SUCCESS;
    }
    const enum spec_precision precision = argc == 4 ? bare_precision(argv[2]) : PRECISION_AUTO;
    while (argc == 4 && shape < WHOLE_SHAPES &&
           strcmp(argv[3], whole_name((enum whole_shape)shape)) != 0)
        shape++;
    while (argc == 4 && command < COMMANDS && strcmp(argv[1], commands[command].name) != 0)
        command++;
    if (precision == PRECISION_AUTO || shape == WHOLE_SHAPES || command == COMMANDS) {
        fputs("usage: cuda_model list | gradient|repeat|memory fp32|bf16 SHAPE\n", stderr);
        return 2;
    }
    if (run(command, precision, (enum whole_shape)shape, &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "%s\n", err.message);
    return EXIT_FAILURE;
}
