/* backend: see backend.h. Shared by all backends: the check for missing entries, fused entries
 * composed of separate ones, address arithmetic, and the ring of synchronous backends. */
#include "gpu/backend.h"

#include <assert.h>
#include <stdlib.h>
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
    {"ring_open", offsetof(struct backend, ring_open)},
    {"ring_close", offsetof(struct backend, ring_close)},
    {"program_begin", offsetof(struct backend, program_begin)},
    {"program_end", offsetof(struct backend, program_end)},
    {"feed", offsetof(struct backend, feed)},
    {"publish", offsetof(struct backend, publish)},
    {"ring_wait", offsetof(struct backend, ring_wait)},
    {"cast", offsetof(struct backend, cast)},
    {"add", offsetof(struct backend, add)},
    {"embedding_forward", offsetof(struct backend, embedding_forward)},
    {"embedding_backward", offsetof(struct backend, embedding_backward)},
    {"layernorm_forward", offsetof(struct backend, layernorm_forward)},
    {"add_layernorm_forward", offsetof(struct backend, add_layernorm_forward)},
    {"layernorm_backward", offsetof(struct backend, layernorm_backward)},
    {"matmul_forward", offsetof(struct backend, matmul_forward)},
    {"matmul_backward_input", offsetof(struct backend, matmul_backward_input)},
    {"matmul_backward_weight", offsetof(struct backend, matmul_backward_weight)},
    {"matmul_activation_forward", offsetof(struct backend, matmul_activation_forward)},
    {"matmul_activation_backward", offsetof(struct backend, matmul_activation_backward)},
    {"attention_forward", offsetof(struct backend, attention_forward)},
    {"attention_backward", offsetof(struct backend, attention_backward)},
    {"activation_forward", offsetof(struct backend, activation_forward)},
    {"activation_backward", offsetof(struct backend, activation_backward)},
    {"lm_head", offsetof(struct backend, lm_head)},
    {"tracked", offsetof(struct backend, tracked)},
    {"window_sums", offsetof(struct backend, window_sums)},
    {"weighted_sums", offsetof(struct backend, weighted_sums)},
    {"gather_rows", offsetof(struct backend, gather_rows)},
    {"scores", offsetof(struct backend, scores)},
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

void backend_add_layernorm_forward(struct backend *self, void *sum, void *out, void *mean,
                                   void *rstd, const void *a, const void *b, const void *gain,
                                   const void *bias, int N, int C)
{
    self->add(self, sum, a, b, (int64_t)N * C);
    self->layernorm_forward(self, out, mean, rstd, sum, gain, bias, N, C);
}

void backend_matmul_activation_forward(struct backend *self, void *active, void *hidden,
                                       const void *x, const void *weight, const void *bias, int N,
                                       int I, int O, enum spec_activation kind)
{
    self->matmul_forward(self, hidden, x, weight, bias, N, I, O);
    self->activation_forward(self, active, hidden, (int64_t)N * O, kind);
}

void backend_matmul_activation_backward(struct backend *self, void *dhidden, const void *dout,
                                        const void *weight, const void *hidden, int N, int I, int O,
                                        enum spec_activation kind)
{
    self->matmul_backward_input(self, dhidden, dout, weight, N, I, O);
    self->activation_backward(self, dhidden, dhidden, hidden, (int64_t)N * I, kind);
}

void *backend_at(const struct backend *backend, const void *base, enum backend_number number,
                 int64_t offset)
{
    const size_t bytes[BACKEND_NUMBERS] = {
        [NUMBER_REAL] = backend->real_bytes, [NUMBER_ACT] = backend->act_bytes,
        [NUMBER_INT32] = sizeof(int32_t),    [NUMBER_FLOAT] = sizeof(float),
        [NUMBER_DOUBLE] = sizeof(double),
    };
    /* Device memory is writable; the const parameter only spares callers a cast. */
    return (char *)(uintptr_t)base + offset * (int64_t)bytes[number];
}

/* ---- ring of a synchronous backend ---- */

struct backend_ring *backend_ring_open(struct backend *self, int64_t slot_bytes, struct err *err)
{
    const size_t bytes = (size_t)self->slots * (size_t)slot_bytes;
    struct backend_ring *ring = calloc(1, sizeof *ring);
    assert(self->slots >= 1 && self->slots <= BACKEND_SLOTS_MAX);
    if (ring)
        ring->memory = calloc(bytes, 1);
    if (!ring || !ring->memory) {
        free(ring);
        err_set(err, ERR_NO_MEMORY, "no memory for %d slots of %lld bytes", self->slots,
                (long long)slot_bytes);
        return NULL;
    }
    ring->slots = self->slots;
    ring->slot_bytes = slot_bytes;
    return ring;
}

void backend_ring_close(struct backend *self, struct backend_ring *ring)
{
    (void)self;
    if (!ring)
        return;
    free(ring->memory);
    free(ring);
}

int backend_program_begin(struct backend *self, struct backend_ring *ring, int program)
{
    (void)self, (void)ring, (void)program;
    return 1;
}

int backend_program_end(struct backend *self, struct backend_ring *ring, int program)
{
    (void)self, (void)program;
    ring->started++;
    return 0;
}

void backend_feed(struct backend *self, struct backend_ring *ring, void *device, int64_t offset,
                  int64_t bytes)
{
    (void)self;
    memcpy(device, backend_slot(ring, ring->started) + offset, (size_t)bytes);
}

void backend_publish(struct backend *self, struct backend_ring *ring, int64_t offset,
                     const void *device, int64_t bytes)
{
    (void)self;
    memcpy(backend_slot(ring, ring->started) + offset, device, (size_t)bytes);
}

int backend_ring_wait(struct backend *self, struct backend_ring *ring, int64_t index,
                      struct err *err)
{
    (void)ring, (void)index;
    return self->sync(self, err);
}
