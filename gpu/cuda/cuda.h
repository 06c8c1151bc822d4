/* cuda: the backend that computes on an NVIDIA GPU: matrix products through
 * cuBLASLt, everything else in our own kernels; REAL is float32, ACT float32 or
 * bfloat16. It lives in a shared object of its own (CUDA_LIBRARY), which the
 * trainer loads at run time (cuda_load.h), so that the same trainer starts where
 * no driver and no CUDA library is. No header of CUDA is needed to use it.
 *
 * One stream, every operation queued on it; no atomics and fixed orders of
 * reduction: the same bits on every run of one build on one model of GPU. */
#ifndef TOKENFATE_CUDA_H
#define TOKENFATE_CUDA_H

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

#define CUDA_LIBRARY "libtokenfate-cuda.so"
#define CUDA_OPEN_SYMBOL "cuda_backend_open"

/* Open device number `device` (0 is the first that CUDA_VISIBLE_DEVICES leaves)
 * with ACT of that precision (auto: fp32). ERR_UNAVAILABLE with the reason: no
 * driver, a driver that is too old, no such device, an architecture that this
 * build has no code for; ERR_NO_MEMORY, ERR_DEVICE. The thread that opens it
 * drives it. A fault of the device stays: every later wait reports it again, and
 * only a new process can compute on. */
typedef int cuda_open_function(int device, enum spec_precision precision, struct backend **out,
                               struct err *err);

#ifdef __cplusplus
extern "C"
#endif
    cuda_open_function cuda_backend_open;

#endif
