/* cpu: the backend for the host's processor. Matrix products run through oneDNN, everything else in
 * loops of our own over OpenMP threads; REAL is float32, ACT float32 or bfloat16. The code for the
 * best instruction set of the machine is chosen when a backend is opened (cpu_isa.h). The bits of
 * every run are equal for a given thread count and instruction set. Callers: device, tests. */
#ifndef TOKENFATE_CPU_H
#define TOKENFATE_CPU_H

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

enum { CPU_THREADS_MAX = 256 };

/* Open the backend. threads: 1..CPU_THREADS_MAX, or 0 for as many as the process may run on.
 * precision: of ACT; auto is bf16 where the processor multiplies bfloat16 (AVX-512 BF16, AMX), else
 * fp32; the result is backend->precision. On other processors bf16 is computed in float32 and
 * rounded, slower than fp32. ERR_INVALID; ERR_UNAVAILABLE (OpenMP gives fewer threads, the
 * instruction set of TOKENFATE_ISA is missing); ERR_NO_MEMORY; ERR_DEVICE (oneDNN does not start).
 * The thread that opens it drives it. */
int cpu_backend_open(int threads, enum spec_precision precision, struct backend **out,
                     struct err *err);

/* `asked`, with auto resolved by processor and TOKENFATE_ISA; fp32 where TOKENFATE_ISA is invalid
 * or unavailable, and opening fails. */
enum spec_precision cpu_precision(enum spec_precision asked);

#endif
