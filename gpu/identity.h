/* identity: what a proof of a card holds for, as one text: the build and the bytes of the shared
 * object, the card or slice, the driver, the library of products and its place. If any of these
 * changes, the card proves itself again. Caller: the runner. One thread. */
#ifndef TOKENFATE_IDENTITY_H
#define TOKENFATE_IDENTITY_H

#include <stdint.h>

#include "gpu/nvml.h"

enum { IDENTITY_MAX = 1024 };

/* Of CUDA device `number`, which device_cuda_query has found: so the shared object and what it is
 * linked with are loaded. name, bytes: of the device; nvml may be NULL: then UUID, multiprocessors
 * and driver are missing. What cannot be found out is "?". */
void identity(int number, const char *build, const char *name, int64_t bytes, struct nvml *nvml,
              char out[IDENTITY_MAX]);

#endif
