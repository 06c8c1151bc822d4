/* cublas: NVIDIA's library of matrix products, before the cuda backend is loaded, which needs it:
 * where it is, and the variables of the environment by which it would compute other bits. Callers:
 * device, and the programs of tests/gpu. One thread, before others start. */
#ifndef TOKENFATE_CUBLAS_H
#define TOKENFATE_CUBLAS_H

#include "config/err.h"

/* Unset what changes algorithms or bits of the library without a word in the provenance; a line in
 * the log for each that was set. To be called before any library of NVIDIA is loaded. */
void cublas_clean_environment(void);

/* Load the library of the major version that the shared object at `backend` was linked with, so
 * that its name satisfies the object's; nothing is done for an object that needs none. From where
 * TOKENFATE_CUBLASLT says (a file, or its folder), and then from nowhere else; else by the linker's
 * own search, in the folders of CUDA's toolkit and of pip's packages. ERR_UNAVAILABLE with what was
 * looked for and why it was not loaded. */
int cublas_load(const char *backend, struct err *err);

#endif
