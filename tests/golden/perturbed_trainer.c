/* perturbed_trainer: the standalone trainer (gpu/standalone.h) on the processor, with every
 * initial weight moved by about one part in ten million: w (1 + 1e-7 z), z
 * standard normal. Two runs that differ by no more than rounding drift apart, and
 * how far says how exactly another device can be asked to follow a curve
 * (tests/golden/make_gulliver.py keeps it). Linked with --wrap for the two functions
 * that it stands before.
 *
 *   perturbed_trainer SEED SHARE CORPUS_PATH < spec.json      SEED 0: not perturbed */
#include <stdlib.h>

#include "config/hash.h"
#include "gpu/standalone.h"
#include "gpu/device.h"
#include "gpu/model.h"
#include "lab/random.h"

#define SIZE 1e-7

int __real_device_open(const char *device, int threads, enum spec_precision precision,
                       const char *build, struct backend **out, struct err *err);
int __wrap_device_open(const char *device, int threads, enum spec_precision precision,
                       const char *build, struct backend **out, struct err *err);

int __real_model_initialise(struct model *model, struct err *err);
int __wrap_model_initialise(struct model *model, struct err *err);

static uint64_t seed, drawn;
static int is_initialising;
static void (*plain_upload)(struct backend *self, void *device, enum backend_number to,
                            const void *host, enum backend_number from, int64_t n);

/* Weights come as float32 and become REAL. */
static void upload(struct backend *self, void *device, enum backend_number to, const void *host,
                   enum backend_number from, int64_t n)
{
    const float *weights = host;
    float *moved = NULL;
    if (to == NUMBER_REAL && from == NUMBER_FLOAT && is_initialising && seed > 0)
        moved = malloc((size_t)n * sizeof *moved);
    for (int64_t i = 0; moved && i < n; i++)
        moved[i] =
            (float)((double)weights[i] * (1 + SIZE * random_normal(seed, RANDOM_WEIGHTS, drawn++)));
    plain_upload(self, device, to, moved ? (void *)moved : host, from, n);
    free(moved);
}

int __wrap_device_open(const char *device, int threads, enum spec_precision precision,
                       const char *build, struct backend **out, struct err *err)
{
    if (__real_device_open(device, threads, precision, build, out, err) != 0)
        return -1;
    plain_upload = (*out)->upload;
    (*out)->upload = upload;
    return 0;
}

int __wrap_model_initialise(struct model *model, struct err *err)
{
    is_initialising = 1;
    const int result = __real_model_initialise(model, err);
    is_initialising = 0;
    return result;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc != 4) {
        fputs("usage: perturbed_trainer SEED SHARE CORPUS_PATH < spec.json\n", stderr);
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    const struct runner_setup setup = {.share = argv[2], .device = "cpu", .build = "perturbed"};
    const struct standalone_options options = {.corpus_path = argv[3], .dir = ""};
    if (hash_init(&err) == 0 && standalone(&setup, &options, stdin, stdout, &err) == 0)
        return 0;
    fprintf(stderr, "perturbed_trainer: %s\n", err.message);
    return 1;
}
