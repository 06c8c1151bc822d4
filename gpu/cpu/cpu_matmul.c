/* cpu_matmul: see cpu_matmul.h. Creating a primitive (choosing an algorithm and generating machine
 * code) costs far more than a small product, so the primitive of each shape is cached. Primitives
 * share one scratch memory, since one runs at a time. After the first step nothing is allocated.
 * Faults are kept in cpu->fault. */
#include "gpu/cpu/cpu_matmul.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Capacity of the cache in shapes. A model needs about 20; a trainer that has seen more models than
 * fit empties the cache. */
enum { CACHE_MAX = 256, ARGUMENTS = 5, LANES = 8 };

struct product {
    struct cpu_gemm gemm;
    int threads;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, bias, c, scratch;
};

struct cpu_matmul {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int n;
    struct product cache[CACHE_MAX];
    void *scratch;
    size_t scratch_bytes;
};

/* oneDNN keeps one instruction set for the life of the process: that of the first backend. A later
 * backend must use the same one, else the recorded name of its instruction set would be false. */
static int limit_isa(enum cpu_isa isa, struct err *err)
{
    static const dnnl_cpu_isa_t limit[CPU_ISAS] = {
        [CPU_ISA_PLAIN] = dnnl_cpu_isa_sse41,
        [CPU_ISA_AVX2] = dnnl_cpu_isa_avx2,
        [CPU_ISA_AVX512] = dnnl_cpu_isa_avx512_core,
        [CPU_ISA_AVX512_BF16] = dnnl_cpu_isa_avx512_core_bf16,
        [CPU_ISA_AMX] = dnnl_cpu_isa_avx512_core_amx,
    };
    static int chosen = -1;
    if (isa == CPU_ISA_PLAIN || chosen == (int)isa)
        return 0; /* plain never calls oneDNN */
    if (chosen >= 0 || dnnl_set_max_cpu_isa(limit[isa]) != dnnl_success)
        return err_set(err, ERR_UNAVAILABLE,
                       "instruction set %s: oneDNN already runs with another in this process",
                       cpu_isa_name(isa));
    chosen = (int)isa;
    return 0;
}

int cpu_matmul_open(enum cpu_isa isa, struct cpu_matmul **out, struct err *err)
{
    if (limit_isa(isa, err) != 0)
        return -1;
    struct cpu_matmul *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NO_MEMORY, "no memory for the cache of matrix products");
    dnnl_status_t status = dnnl_engine_create(&m->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&m->stream, m->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        cpu_matmul_close(m);
        return err_set(err, ERR_DEVICE, "oneDNN does not start: status %d", (int)status);
    }
    *out = m;
    return 0;
}

void cpu_matmul_library(char *out, size_t n)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(out, n, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}

static void product_free(struct product *p)
{
    const dnnl_memory_t memories[] = {p->a, p->b, p->bias, p->c, p->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    memset(p, 0, sizeof *p);
}

static void cache_clear(struct cpu_matmul *m)
{
    for (int i = 0; i < m->n; i++)
        product_free(&m->cache[i]);
    m->n = 0;
}

void cpu_matmul_close(struct cpu_matmul *m)
{
    if (!m)
        return;
    cache_clear(m);
    if (m->stream)
        dnnl_stream_destroy(m->stream);
    if (m->engine)
        dnnl_engine_destroy(m->engine);
    free(m->scratch);
    free(m);
}

static int same(const struct product *p, const struct cpu_gemm *g, int threads)
{
    return p->gemm.M == g->M && p->gemm.N == g->N && p->gemm.K == g->K &&
           p->gemm.a_transposed == g->a_transposed && p->gemm.b_transposed == g->b_transposed &&
           p->gemm.a_stride == g->a_stride && p->gemm.b_stride == g->b_stride &&
           p->gemm.c_stride == g->c_stride && p->gemm.accumulate == g->accumulate &&
           p->gemm.has_bias == g->has_bias && p->gemm.a_bf16 == g->a_bf16 &&
           p->gemm.b_bf16 == g->b_bf16 && p->gemm.c_bf16 == g->c_bf16 &&
           p->gemm.alpha == g->alpha && p->threads == threads;
}

static dnnl_status_t matrix(dnnl_memory_desc_t *md, int rows, int cols, int stride, int transposed,
                            int bf16)
{
    const dnnl_dims_t dims = {rows, cols};
    const dnnl_dims_t strides = {transposed ? 1 : stride, transposed ? stride : 1};
    return dnnl_memory_desc_init_by_strides(md, 2, dims, bf16 ? dnnl_bf16 : dnnl_f32, strides);
}

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, const struct cpu_gemm *g)
{
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && g->alpha != 1.0f)
        status = dnnl_primitive_attr_set_output_scales(*attr, 1, 0, &g->alpha);
    if (status != dnnl_success || !g->accumulate)
        return status;
    dnnl_post_ops_t post_ops;
    status = dnnl_post_ops_create(&post_ops);
    if (status != dnnl_success)
        return status;
    status = dnnl_post_ops_append_sum(post_ops, 1.0f);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, post_ops);
    dnnl_post_ops_destroy(post_ops);
    return status;
}

/* Create memory objects for the primitive's arguments, without addresses, and enough scratch for
 * it. */
static dnnl_status_t bind(struct cpu_matmul *m, struct product *p, const_dnnl_primitive_desc_t pd)
{
    const struct {
        dnnl_memory_t *memory;
        dnnl_query_t query;
    } wanted[ARGUMENTS] = {{&p->a, dnnl_query_src_md},
                           {&p->b, dnnl_query_weights_md},
                           {&p->c, dnnl_query_dst_md},
                           {&p->scratch, dnnl_query_scratchpad_md},
                           {&p->bias, dnnl_query_weights_md}};
    for (int i = 0; i < ARGUMENTS - !p->gemm.has_bias; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(pd, wanted[i].query, wanted[i].memory == &p->bias);
        dnnl_status_t status =
            dnnl_memory_create(wanted[i].memory, md, m->engine, DNNL_MEMORY_NONE);
        if (status != dnnl_success)
            return status;
    }
    const size_t bytes =
        dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    if (bytes <= m->scratch_bytes)
        return dnnl_success;
    void *scratch = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!scratch)
        return dnnl_out_of_memory;
    free(m->scratch);
    m->scratch = scratch;
    m->scratch_bytes = bytes;
    return dnnl_success;
}

static dnnl_status_t product_create(struct cpu_matmul *m, struct product *p)
{
    const struct cpu_gemm *g = &p->gemm;
    dnnl_memory_desc_t a, b, c, bias;
    const dnnl_dims_t bias_dims = {1, g->N}, bias_strides = {g->N, 1};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_matmul_desc_t desc;

    dnnl_status_t status = matrix(&a, g->M, g->K, g->a_stride, g->a_transposed, g->a_bf16);
    if (status == dnnl_success)
        status = matrix(&b, g->K, g->N, g->b_stride, g->b_transposed, g->b_bf16);
    if (status == dnnl_success)
        status = matrix(&c, g->M, g->N, g->c_stride, 0, g->c_bf16);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_strides(&bias, 2, bias_dims,
                                                  g->c_bf16 ? dnnl_bf16 : dnnl_f32, bias_strides);
    if (status == dnnl_success)
        status = dnnl_matmul_desc_init(&desc, &a, &b, g->has_bias ? &bias : NULL, &c);
    if (status == dnnl_success)
        status = attributes(&attr, g);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(&pd, &desc, attr, m->engine, NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&p->primitive, pd);
    if (status == dnnl_success)
        status = bind(m, p, pd);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t product_of(struct cpu_matmul *m, const struct cpu_gemm *gemm, int threads,
                                struct product **out)
{
    for (int i = 0; i < m->n; i++)
        if (same(&m->cache[i], gemm, threads)) {
            *out = &m->cache[i];
            return dnnl_success;
        }
    if (m->n == CACHE_MAX)
        cache_clear(m);
    struct product *p = &m->cache[m->n];
    p->gemm = *gemm;
    p->threads = threads;
    dnnl_status_t status = product_create(m, p);
    if (status != dnnl_success) {
        product_free(p);
        return status;
    }
    m->n++;
    *out = p;
    return dnnl_success;
}

static dnnl_status_t product_run(struct cpu_matmul *m, struct product *p, const void *a,
                                 const void *b, const void *bias, void *c)
{
    const struct {
        int name;
        dnnl_memory_t memory;
        const void *address;
    } bound[ARGUMENTS] = {{DNNL_ARG_SRC, p->a, a},
                          {DNNL_ARG_WEIGHTS, p->b, b},
                          {DNNL_ARG_DST, p->c, c},
                          {DNNL_ARG_SCRATCHPAD, p->scratch, m->scratch},
                          {DNNL_ARG_BIAS, p->bias, bias}};
    const int n = ARGUMENTS - !p->gemm.has_bias;
    dnnl_exec_arg_t args[ARGUMENTS];
    for (int i = 0; i < n; i++) {
        /* oneDNN has one pointer type for reading and writing. */
        void *address = (void *)(uintptr_t)bound[i].address;
        dnnl_status_t status = dnnl_memory_set_data_handle(bound[i].memory, address);
        if (status != dnnl_success)
            return status;
        args[i] = (dnnl_exec_arg_t){bound[i].name, bound[i].memory};
    }
    return dnnl_primitive_execute(p->primitive, m->stream, n, args);
}

/* 1 if oneDNN has fast code for a product: it has none for mixed types, and below AVX-512 it
 * multiplies bfloat16 one number at a time. */
static int served(const struct cpu *cpu, const struct cpu_gemm *gemm)
{
    if (gemm->a_bf16 != gemm->b_bf16)
        return 0;
    return cpu->isa >= (gemm->a_bf16 ? CPU_ISA_AVX512 : CPU_ISA_AVX2);
}

void cpu_matmul_gemm(struct cpu *cpu, const struct cpu_gemm *gemm, const void *a, const void *b,
                     const void *bias, void *c)
{
    if (!served(cpu, gemm)) {
        cpu->gemm(cpu, gemm, a, b, bias, c);
        return;
    }
    struct product *product = NULL;
    const int64_t multiplications = (int64_t)gemm->M * gemm->N * gemm->K;
    const int team = cpu_team(cpu, multiplications / LANES);
    omp_set_num_threads(team); /* oneDNN uses as many threads as OpenMP would */
    dnnl_status_t status = product_of(cpu->matmul, gemm, team, &product);
    if (status == dnnl_success)
        status = product_run(cpu->matmul, product, a, b, bias, c);
    if (status != dnnl_success && cpu->fault.code == ERR_NONE)
        err_set(&cpu->fault, status == dnnl_out_of_memory ? ERR_NO_MEMORY : ERR_DEVICE,
                "oneDNN: matrix product %d x %d x %d: status %d", gemm->M, gemm->N, gemm->K,
                (int)status);
}

void cpu_matmul_forward(struct backend *self, void *out, const void *x, const void *weight,
                        const void *bias, int N, int I, int O)
{
    const struct cpu_gemm gemm = {.M = N,
                                  .N = O,
                                  .K = I,
                                  .a_stride = I,
                                  .b_stride = O,
                                  .c_stride = O,
                                  .has_bias = 1,
                                  .a_bf16 = cpu_of(self)->bf16,
                                  .b_bf16 = cpu_of(self)->bf16,
                                  .c_bf16 = cpu_of(self)->bf16,
                                  .alpha = 1};
    cpu_matmul_gemm(cpu_of(self), &gemm, x, weight, bias, out);
}

void cpu_matmul_backward_input(struct backend *self, void *dx, const void *dout, const void *weight,
                               int N, int I, int O)
{
    const struct cpu_gemm gemm = {.M = N,
                                  .N = I,
                                  .K = O,
                                  .b_transposed = 1,
                                  .a_stride = O,
                                  .b_stride = O,
                                  .c_stride = I,
                                  .a_bf16 = cpu_of(self)->bf16,
                                  .b_bf16 = cpu_of(self)->bf16,
                                  .c_bf16 = cpu_of(self)->bf16,
                                  .alpha = 1};
    cpu_matmul_gemm(cpu_of(self), &gemm, dout, weight, NULL, dx);
}

void cpu_matmul_backward_weight(struct backend *self, void *dweight, void *dbias, const void *x,
                                const void *dout, int N, int I, int O)
{
    const struct cpu_gemm gemm = {.M = I,
                                  .N = O,
                                  .K = N,
                                  .a_transposed = 1,
                                  .a_stride = I,
                                  .b_stride = O,
                                  .c_stride = O,
                                  .a_bf16 = cpu_of(self)->bf16,
                                  .b_bf16 = cpu_of(self)->bf16,
                                  .alpha = 1};
    cpu_matmul_gemm(cpu_of(self), &gemm, x, dout, NULL, dweight);
    cpu_of(self)->column_sums(cpu_of(self), dbias, dout, N, O, O);
}
