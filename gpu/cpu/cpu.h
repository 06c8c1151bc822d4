/* cpu: the backend that computes on the host's processor: matrix products
 * through oneDNN, everything else in our own loops over OpenMP threads, float32
 * for REAL, float32 or bfloat16 for ACT. The code for the best instruction set of
 * the machine is chosen when a backend is opened (cpu_isa.h). The same bits on every run for a given thread count and
 * instruction set. Callers: the trainer, tests. */
#ifndef TOKENFATE_CPU_H
#define TOKENFATE_CPU_H

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

enum { CPU_THREADS_MAX = 256 };

/* threads: 1..CPU_THREADS_MAX, or 0 for as many as the process may run on.
 * precision: of ACT; auto is bf16 where the processor multiplies bfloat16 (AVX-512
 * BF16, AMX), else fp32: backend->precision tells.
 * A processor without that computes bf16 in float and rounds, slower than fp32.
 * ERR_INVALID, ERR_UNAVAILABLE (OpenMP gives fewer threads, TOKENFATE_ISA is not here), ERR_NO_MEMORY,
 * ERR_DEVICE (oneDNN does not start). The thread that opens it drives it. */
int cpu_backend_open(int threads, enum spec_precision precision, struct backend **out,
                     struct err *err);

/* What `asked` comes to when it is opened here: auto resolved by processor and
 * TOKENFATE_ISA. Where that names what is not here, and opening fails, fp32. */
enum spec_precision cpu_precision(enum spec_precision asked);

#endif
