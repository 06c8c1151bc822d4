/* library: the cuda backend's shared object for the programs of tests/gpu, which
 * need nothing else of this project and no library but CUDA's: a machine with a
 * GPU may be bare. It lies beside the program, or where TOKENFATE_CUDA_LIBRARY
 * says. */
#ifndef TOKENFATE_BARE_LIBRARY_H
#define TOKENFATE_BARE_LIBRARY_H

#include "gpu/cuda/cuda.h"

/* NULL with ERR_UNAVAILABLE and the reason: no driver, no library of CUDA. */
const struct cuda_library *bare_library(struct err *err);

/* "fp32" or "bf16"; anything else is PRECISION_AUTO. */
enum spec_precision bare_precision(const char *word);

#endif
