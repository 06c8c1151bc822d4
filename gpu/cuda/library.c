/* library: the table of functions that the shared object exports, its only visible symbol. */
#include "gpu/cuda/cuda.h"

extern __attribute__((visibility("default"))) const struct cuda_library tokenfate_cuda;

const struct cuda_library tokenfate_cuda = {
    .build = TOKENFATE_BUILD,
    .query = cuda_backend_query,
    .open = cuda_backend_open,
};
