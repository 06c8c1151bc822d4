/* backend: turns the cuda backend on the execution layer (tests/lib/cuda_host.h)
 * into libtokenfate-cuda.so of the made-up machine: as many cards as it has, with
 * the fault that CARDS_FAULT seeds. The linker passes the opening through here
 * (--wrap), where operations of the table are exchanged. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda/cuda.h"
#include "tests/cards/cards.h"
#include "tests/lib/cuda_host_control.h"

int cards_cublas(void); /* of cublas.c */

enum {
    LOST = 8,              /* numbers of a sum that `tail` loses */
    LONG = 1000,           /* ... of a length that is above this and no multiple of 64 */
    ILLEGAL_ADDRESS = 700, /* cudaErrorIllegalAddress */
    FAULT_MAX = 16,        /* bytes of its name, with the zero */
    LITTLE = 16 << 20      /* bytes: less than the backend itself takes */
};

static struct backend right; /* the table before a fault */
static void *last_bias;      /* that a product has written */
static int is_replayed;

static int has(const char *fault)
{
    const char *seeded = getenv("CARDS_FAULT");
    char word[FAULT_MAX] = "";
    FILE *file = seeded && seeded[0] == '/' ? fopen(seeded, "re") : NULL;
    if (file) {
        word[fread(word, 1, sizeof word - 1, file)] = '\0';
        fclose(file);
        seeded = word;
    }
    return seeded && strcmp(seeded, fault) == 0;
}

static void __attribute__((constructor)) have_cards(void)
{
    int card[CARDS_MAX];
    cuda_host_machine.runtime = cards_cublas() * 1000;
    cuda_host_machine.driver = cards_number("CARDS_CUDA", CARDS_CUDA_VERSION);
    cuda_host_machine.refuses = cards_number("CARDS_REFUSES", CUDA_HOST_TAKES_ALL);
    cuda_host_machine.devices = cards_visible(card);
    cuda_host_machine.memory = has("memory") ? LITTLE : (size_t)CARDS_MEMORY_MIB << 20;
    cuda_host_lost_barriers = has("barrier") ? "elementwise.cu" : NULL;
    cuda_host_products.wrong = has("product") ? CUDA_HOST_NO_TAIL : CUDA_HOST_RIGHT;
}

static void add(struct backend *be, void *out, const void *a, const void *b, int64_t n)
{
    if (has("crash"))
        abort();
    while (has("hang"))
        pause();
    if (has("device"))
        cuda_host_fail_next(ILLEGAL_ADDRESS);
    right.add(be, out, a, has("operation") ? a : b, n);
}

static void backward_weight(struct backend *be, void *dweight, void *dbias, const void *x,
                            const void *dout, int N, int I, int O)
{
    const int loses = has("tail") && N > LONG && N % 64 != 0;
    last_bias = dbias;
    right.matmul_backward_weight(be, dweight, dbias, x, dout, loses ? N - LOST : N, I, O);
}

static void attention(struct backend *be, void *out, void *lse, const void *qkv, int B, int T,
                      int C, int NH)
{
    right.attention_forward(be, out, lse, qkv, B, T, C, NH);
    if (has("attention"))
        right.zero(be, out, (int64_t)B * T * C * (int64_t)be->act_bytes);
}

static void norm_backward(struct backend *be, void *dx, void *dgain, void *dbias, const void *dout,
                          const void *residual, const void *x, const void *mean, const void *rstd,
                          const void *gain, int N, int C)
{
    right.layernorm_backward(be, dx, dgain, dbias, dout, residual, x, mean, rstd, gain, N, C);
    if (has("gradient"))
        right.zero(be, dgain, C * (int64_t)be->real_bytes);
}

static int program_begin(struct backend *be, struct backend_ring *ring, int program)
{
    const int is_first = right.program_begin(be, ring, program);
    is_replayed = !is_first;
    return is_first;
}

static int program_end(struct backend *be, struct backend_ring *ring, int program)
{
    const int again = right.program_end(be, ring, program);
    if (is_replayed && last_bias)
        right.zero(be, last_bias, sizeof(float));
    return again;
}

int __real_cuda_backend_open(int device, enum spec_precision precision, struct backend **out,
                             struct err *err);
int __wrap_cuda_backend_open(int device, enum spec_precision precision, struct backend **out,
                             struct err *err);

int __wrap_cuda_backend_open(int device, enum spec_precision precision, struct backend **out,
                             struct err *err)
{
    if (__real_cuda_backend_open(device, precision, out, err) != 0)
        return -1;
    right = **out;
    (*out)->add = add;
    (*out)->attention_forward = attention;
    (*out)->layernorm_backward = norm_backward;
    (*out)->matmul_backward_weight = backward_weight;
    if (has("replay")) {
        (*out)->program_begin = program_begin;
        (*out)->program_end = program_end;
    }
    return 0;
}
