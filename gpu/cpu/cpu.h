/* cpu: the backend that computes on the host's processor: matrix products
 * through oneDNN, everything else in our own loops over OpenMP threads, float32
 * for REAL and ACT. The same bits on every run for a given thread count and
 * instruction set. Callers: the trainer, tests. */
#ifndef TOKENFATE_CPU_H
#define TOKENFATE_CPU_H

#include "config/err.h"
#include "gpu/backend.h"

enum { CPU_THREADS_MAX = 256 };

/* threads: 1..CPU_THREADS_MAX, or 0 for as many as the process may run on.
 * ERR_INVALID, ERR_UNAVAILABLE (OpenMP gives fewer threads), ERR_NO_MEMORY,
 * ERR_DEVICE (oneDNN does not start). The thread that opens it drives it. */
int cpu_backend_open(int threads, struct backend **out, struct err *err);

#endif
