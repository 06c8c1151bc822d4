/* cuda: the backend for NVIDIA GPUs. Matrix products run through cuBLASLt, everything else in
 * kernels of our own; REAL is float32, ACT float32 or bfloat16. It is a shared object of its own
 * (CUDA_LIBRARY), which the trainer loads at run time (gpu/device.h), so that the same trainer
 * starts on machines without driver and CUDA libraries. Using it needs no header of CUDA.
 *
 * All operations are queued on one stream. There are no atomics, and reductions have a fixed order:
 * the bits of every run are equal for one build on one model of GPU. */
#ifndef TOKENFATE_CUDA_H
#define TOKENFATE_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

#define CUDA_LIBRARY "libtokenfate-cuda.so"
#define CUDA_LIBRARY_SYMBOL "tokenfate_cuda"

/* The one symbol of the shared object. A library of another build than the trainer's must not be
 * used: their structs may differ. */
struct cuda_library {
    const char *build;

    /* Name (BACKEND_DEVICE_MAX bytes) and memory of device number `device`, without creating a
     * context; 0 is the first device that CUDA_VISIBLE_DEVICES shows. ERR_UNAVAILABLE with the
     * reason: no driver, driver too old, no such device. */
    int (*query)(int device, char *name, int64_t *bytes, struct err *err);

    /* Open a device with ACT of that precision (auto: fp32). ERR_UNAVAILABLE as query, and for an
     * architecture that this build has no code for; ERR_NO_MEMORY, ERR_DEVICE. The thread that
     * opens it drives it. A fault of the device is final: every later wait reports it again, and
     * only a new process can compute on. */
    int (*open)(int device, enum spec_precision precision, struct backend **out, struct err *err);
};

/* The table's functions, for library.c and for tests that link them. */
int cuda_backend_query(int device, char *name, int64_t *bytes, struct err *err);
int cuda_backend_open(int device, enum spec_precision precision, struct backend **out,
                      struct err *err);

#ifdef __cplusplus
}
#endif

#endif
