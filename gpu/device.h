/* device: compute devices by the names that jobs and people use: "cpu", "cuda:N".
 * The cpu backend is part of the program; the cuda backend is a shared object
 * beside it that is loaded when somebody first asks for it and stays loaded. Why
 * a device cannot be had is said exactly. Callers: the runner. One thread. */
#ifndef TOKENFATE_DEVICE_H
#define TOKENFATE_DEVICE_H

#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

enum { DEVICE_CUDA_MAX = 15 }; /* GPUs that are looked for; a server takes 16 devices */

/* Number of a CUDA device: N of "cuda:N", 0 of "cuda"; -1 for anything else. */
int device_cuda_number(const char *device);

/* Name (BACKEND_DEVICE_MAX bytes) and memory of CUDA device `number`, without
 * taking it into use. build: this program's; a shared object of another one is
 * refused. ERR_UNAVAILABLE with the reason. */
int device_cuda_query(int number, const char *build, char *name, int64_t *bytes, struct err *err);

/* The precision that `asked` comes to on a device: `auto` is bfloat16 with float32
 * masters on a GPU, and on a processor that multiplies bfloat16 (cpu_precision);
 * float32 on others. */
enum spec_precision device_precision(const char *device, enum spec_precision asked);

/* The backend of a device, in device_precision of it. threads: cpu_backend_open's.
 * ERR_UNAVAILABLE with the reason, or what opening it said. */
int device_open(const char *device, int threads, enum spec_precision precision, const char *build,
                struct backend **out, struct err *err);

#endif
