/* device: compute devices by the names that jobs use: "cpu", "cuda:N". The cpu backend is linked
 * into the program. The cuda backend is a shared object beside it, loaded at its first use and
 * never unloaded. Errors name the exact reason why a device is unavailable. Callers: the runner.
 * One thread. */
#ifndef TOKENFATE_DEVICE_H
#define TOKENFATE_DEVICE_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

enum { DEVICE_CUDA_MAX = 15 }; /* GPUs that are listed; a server takes 16 devices */

/* Number of a CUDA device: N of "cuda:N", 0 of "cuda"; -1 for anything else. */
int device_cuda_number(const char *device);

/* Name (BACKEND_DEVICE_MAX bytes) and memory of CUDA device `number`, without creating a context on
 * it. build: of this program; a shared object of another build is refused. ERR_UNAVAILABLE with the
 * reason. */
int device_cuda_query(int number, const char *build, char *name, int64_t *bytes, struct err *err);

/* `asked`, with auto resolved for a device: bfloat16 with float32 masters on a GPU and on a
 * processor that multiplies bfloat16 (cpu_precision); float32 on others. */
enum spec_precision device_precision(const char *device, enum spec_precision asked);

/* Open the backend of a device, in device_precision of it. threads: as cpu_backend_open.
 * ERR_UNAVAILABLE with the reason, or the error of opening it. */
int device_open(const char *device, int threads, enum spec_precision precision, const char *build,
                struct backend **out, struct err *err);

#endif
