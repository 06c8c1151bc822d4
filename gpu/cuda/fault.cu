/* fault: see fault.h. */
#include "gpu/cuda/fault.h"

#include <stdio.h>

#include "gpu/cuda/cuda_internal.h"

static void keep(struct cuda *cuda, enum err_code code, const char *message)
{
    if (cuda->capturing && code == ERR_DEVICE) {
        if (!cuda->table.notice[0])
            snprintf(cuda->table.notice, sizeof cuda->table.notice, "%.*s", BACKEND_NOTICE_MAX - 1,
                     message);
    } else if (cuda->fault.code == ERR_NONE) {
        err_set(&cuda->fault, code, "%s", message);
    }
}

int cuda_fault_check(struct cuda *cuda, cudaError_t status, const char *operation)
{
    if (status == cudaSuccess)
        return 0;
    char message[ERR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s: %s (%s)", operation, cudaGetErrorName(status),
             cudaGetErrorString(status));
    keep(cuda, ERR_DEVICE, message);
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
    keep(cuda, code, message);
}

int cuda_fault_report(const struct cuda *cuda, struct err *err)
{
    if (cuda->fault.code == ERR_NONE)
        return 0;
    return err_set(err, cuda->fault.code, "%s", cuda->fault.message);
}
