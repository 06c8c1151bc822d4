/* no_cpu: the cpu backend of a trainer that has none. The real one needs oneDNN
 * and OpenMP, which a bare machine with a GPU lacks; this one says so. Linked in
 * its place into the trainer of the kit (tests/gpu/kit.mk). */
#include "gpu/cpu/cpu.h"

enum spec_precision cpu_precision(enum spec_precision asked)
{
    return asked == PRECISION_AUTO ? PRECISION_FP32 : asked;
}

int cpu_backend_open(int threads, enum spec_precision precision, struct backend **out,
                     struct err *err)
{
    (void)threads;
    (void)precision;
    (void)out;
    return err_set(err, ERR_UNAVAILABLE, "this trainer computes on GPUs only");
}
