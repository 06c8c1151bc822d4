/* fault: faults of the device. Operations are queued and fail later, so the first fault is kept
 * in cuda->fault with the name of what was queued last, and every later wait reports it. A fault
 * is final: the CUDA context is unusable after it, and only a new process can compute on. On the
 * thread that drives the backend.
 *
 * While a program is captured nothing runs: what a call refuses then is no fault but a notice, and
 * the program goes on without a recording (ring.cu). */
#ifndef TOKENFATE_CUDA_FAULT_H
#define TOKENFATE_CUDA_FAULT_H

#include "gpu/cuda/launch.h"

extern "C" {
#include "config/err.h"
}

struct cuda;

/* Keep the status of a call as the fault, unless it is a success or a fault is kept already.
 * Returns 0 if the status is a success, else -1. */
int cuda_fault_check(struct cuda *cuda, cudaError_t status, const char *operation);

/* Remember the name of what was queued, and check that its launch was accepted. Called by LAUNCH,
 * and after other work was queued. */
void cuda_fault_launched(struct cuda *cuda, const char *kernel);

/* Keep a fault that is not CUDA's own, unless a fault is kept already: ERR_DEVICE, or ERR_INTERNAL
 * for a bug of this folder. */
void cuda_fault_keep(struct cuda *cuda, enum err_code code, const char *message);

/* 0, or -1 with the kept fault. */
int cuda_fault_report(const struct cuda *cuda, struct err *err);

#endif
