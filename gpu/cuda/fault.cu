/* fault: see fault.h. */
#include "gpu/cuda/fault.h"

#include <stdio.h>

#include "gpu/cuda/cuda_internal.h"

int cuda_fault_check(struct cuda *cuda, cudaError_t status, const char *operation)
{
    if (status == cudaSuccess)
        return 0;
    if (cuda->fault.code == ERR_NONE)
        err_set(&cuda->fault, ERR_DEVICE, "%s: %s (%s)", operation, cudaGetErrorName(status),
                cudaGetErrorString(status));
    return -1;
}

void cuda_fault_launched(struct cuda *cuda, const char *kernel)
{
    snprintf(cuda->last, sizeof cuda->last, "%s", kernel);
    cuda_fault_check(cuda, cudaGetLastError(), kernel);
    if (cuda->each)
        cuda_fault_check(cuda, cudaStreamSynchronize(cuda->stream), kernel);
}

void cuda_fault_keep(struct cuda *cuda, enum err_code code, const char *message)
{
    if (cuda->fault.code == ERR_NONE)
        err_set(&cuda->fault, code, "%s", message);
}

int cuda_fault_report(const struct cuda *cuda, struct err *err)
{
    if (cuda->fault.code == ERR_NONE)
        return 0;
    return err_set(err, cuda->fault.code, "%s", cuda->fault.message);
}
