/* backend: see backend.h. What every backend shares: the check that its table
 * has no gap, and the arithmetic on device addresses. */
#include "gpu/backend.h"

#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} operation_table[] = {
    {"close", offsetof(struct backend, close)},
    {"available", offsetof(struct backend, available)},
    {"alloc", offsetof(struct backend, alloc)},
    {"free", offsetof(struct backend, free)},
    {"zero", offsetof(struct backend, zero)},
    {"upload", offsetof(struct backend, upload)},
    {"download", offsetof(struct backend, download)},
    {"sync", offsetof(struct backend, sync)},
    {"cast", offsetof(struct backend, cast)},
    {"add", offsetof(struct backend, add)},
    {"embedding_forward", offsetof(struct backend, embedding_forward)},
    {"embedding_backward", offsetof(struct backend, embedding_backward)},
    {"layernorm_forward", offsetof(struct backend, layernorm_forward)},
    {"layernorm_backward", offsetof(struct backend, layernorm_backward)},
    {"matmul_forward", offsetof(struct backend, matmul_forward)},
    {"matmul_backward_input", offsetof(struct backend, matmul_backward_input)},
    {"matmul_backward_weight", offsetof(struct backend, matmul_backward_weight)},
    {"attention_forward", offsetof(struct backend, attention_forward)},
    {"attention_backward", offsetof(struct backend, attention_backward)},
    {"activation_forward", offsetof(struct backend, activation_forward)},
    {"activation_backward", offsetof(struct backend, activation_backward)},
    {"head", offsetof(struct backend, head)},
    {"tracked", offsetof(struct backend, tracked)},
    {"window_sums", offsetof(struct backend, window_sums)},
    {"weighted_sums", offsetof(struct backend, weighted_sums)},
    {"gather_rows", offsetof(struct backend, gather_rows)},
    {"sum_squares", offsetof(struct backend, sum_squares)},
    {"update", offsetof(struct backend, update)},
};

int backend_check(const struct backend *backend, struct err *err)
{
    for (size_t i = 0; i < sizeof operation_table / sizeof *operation_table; i++) {
        void (*operation)(void);
        memcpy(&operation, (const char *)backend + operation_table[i].offset, sizeof operation);
        if (!operation)
            return err_set(err, ERR_INTERNAL, "backend %s lacks the operation %s", backend->name,
                           operation_table[i].name);
    }
    return 0;
}

void *backend_at(const struct backend *backend, const void *base, enum backend_number number,
                 int64_t offset)
{
    const size_t bytes[BACKEND_NUMBERS] = {
        [NUMBER_REAL] = backend->real_bytes, [NUMBER_ACT] = backend->act_bytes,
        [NUMBER_INT32] = sizeof(int32_t),    [NUMBER_FLOAT] = sizeof(float),
        [NUMBER_DOUBLE] = sizeof(double),
    };
    /* Device memory is writable; const in the parameter only spares callers a cast. */
    return (char *)(uintptr_t)base + offset * (int64_t)bytes[number];
}
