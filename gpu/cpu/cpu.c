/* cpu: see cpu.h. The table of the cpu backend, copies between host and device numbers, and
 * the description of the machine. Operations run synchronously, in the calling thread and its
 * OpenMP team. cpu.c fills the table from all other files of this folder; none of them calls
 * back. */
#include "gpu/cpu/cpu.h"

#include <gnu/libc-version.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cpu/cpu_bf16.h"
#include "gpu/cpu/cpu_internal.h"
#include "gpu/cpu/cpu_matmul.h"
#include "gpu/cpu/cpu_memory.h"
#include "lab/memory.h"

/* ---- host and device ---- */

static int is_bf16(const struct cpu *cpu, enum backend_number number)
{
    return cpu->bf16 && number == NUMBER_ACT;
}

static void cpu_upload(struct backend *self, void *device, enum backend_number to, const void *host,
                       enum backend_number from, int64_t n)
{
    const double *doubles = host;
    const float *floats = host;
    if (n == 0) /* without tracked tokens host may be NULL, which memcpy must not get */
        return;
    if (is_bf16(cpu_of(self), to)) {
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)device)[i] =
                cpu_to_bf16(from == NUMBER_DOUBLE ? (float)doubles[i] : floats[i]);
        return;
    }
    if (from != NUMBER_DOUBLE) {
        memcpy(device, host, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        ((float *)device)[i] = (float)doubles[i];
}

static int cpu_sync(struct backend *self, struct err *err)
{
    struct err *fault = &cpu_of(self)->fault;
    if (fault->code == ERR_NONE)
        return 0;
    const int result = err_set(err, fault->code, "%s", fault->message);
    err_clear(fault);
    return result;
}

static int cpu_download(struct backend *self, void *host, enum backend_number to,
                        const void *device, enum backend_number from, int64_t n, struct err *err)
{
    if (cpu_sync(self, err) != 0)
        return -1;
    const int bf16 = is_bf16(cpu_of(self), from);
    if (!bf16 && to != NUMBER_DOUBLE) {
        memcpy(host, device, (size_t)n * 4);
        return 0;
    }
    for (int64_t i = 0; i < n; i++) {
        const float value =
            bf16 ? cpu_from_bf16(((const uint16_t *)device)[i]) : ((const float *)device)[i];
        if (to == NUMBER_DOUBLE)
            ((double *)host)[i] = (double)value;
        else
            ((float *)host)[i] = value;
    }
    return 0;
}

/* ---- opening ---- */

static void device_name(char *out, size_t n)
{
    char line[256];
    snprintf(out, n, "CPU");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, n, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    fclose(file);
}

/* Size that a team of `wanted` threads really gets. OMP_THREAD_LIMIT may reduce it, and then slices
 * of every operation would stay undone. */
static int team_size(int wanted)
{
    int size = 0;
#pragma omp parallel num_threads(wanted)
#pragma omp single
    size = omp_get_num_threads();
    return size;
}

static int choose_threads(struct cpu *cpu, int threads, struct err *err)
{
    const int processors = omp_get_num_procs();
    const int most = processors < CPU_THREADS_MAX ? processors : CPU_THREADS_MAX;
    omp_set_dynamic(0); /* a team that shrinks under load would partition the work differently */
    const int got = team_size(threads ? threads : most);
    if (threads && got != threads)
        return err_set(err, ERR_UNAVAILABLE, "%d threads wanted, OpenMP gives %d", threads, got);
    cpu->threads = cpu->table.threads = got;
    return 0;
}

static void cpu_close(struct backend *self)
{
    struct cpu *cpu = cpu_of(self);
    cpu_matmul_close(cpu->matmul);
    free(cpu->scratch);
    free(cpu);
}

/* Entries that do not depend on the instruction set; the files of loops add the rest. */
static const struct backend cpu_table = {
    .name = "cpu",
    .real_bytes = sizeof(float),
    .on_host = 1,
    .lm_head_chunk = MEMORY_HEAD_CHUNK_CPU,
    .slots = 1,
    .close = cpu_close,
    .available = cpu_memory_available,
    .alloc = cpu_memory_alloc,
    .free = cpu_memory_free,
    .zero = cpu_memory_zero,
    .upload = cpu_upload,
    .download = cpu_download,
    .sync = cpu_sync,
    .ring_open = backend_ring_open,
    .ring_close = backend_ring_close,
    .program_begin = backend_program_begin,
    .program_end = backend_program_end,
    .feed = backend_feed,
    .publish = backend_publish,
    .ring_wait = backend_ring_wait,
    .add_layernorm_forward = backend_add_layernorm_forward,
    .matmul_forward = cpu_matmul_forward,
    .matmul_backward_input = cpu_matmul_backward_input,
    .matmul_backward_weight = cpu_matmul_backward_weight,
    .matmul_activation_forward = backend_matmul_activation_forward,
    .matmul_activation_backward = backend_matmul_activation_backward,
};

/* AMX has matrix products only: the fused lm_head is the one file with code of its own for it. */
#define FILES(isa, fused)                                                                          \
    {                                                                                              \
        cpu_attention_##isa, cpu_elementwise_##isa, cpu_gemm_##isa, cpu_lm_head_##isa,             \
            cpu_fused_##fused, cpu_layernorm_##isa, cpu_tracked_##isa, cpu_update_##isa            \
    }
enum { FILES_OF_LOOPS = 8 };

static void (*const files[CPU_ISAS][FILES_OF_LOOPS])(struct cpu *cpu) = {
    [CPU_ISA_PLAIN] = FILES(plain, plain),
#if defined(__x86_64__)
    [CPU_ISA_AVX2] = FILES(avx2, avx2),
    [CPU_ISA_AVX512] = FILES(avx512, avx512),
    [CPU_ISA_AVX512_BF16] = FILES(avx512_bf16, avx512_bf16),
    [CPU_ISA_AMX] = FILES(avx512_bf16, amx),
#endif
};

/* bf16 is faster only where the processor multiplies it. */
enum spec_precision cpu_precision(enum spec_precision asked)
{
    enum cpu_isa isa;
    struct err why = ERR_INIT;
    if (asked != PRECISION_AUTO)
        return asked;
    return cpu_isa_choose(&isa, &why) == 0 && isa >= CPU_ISA_AVX512_BF16 ? PRECISION_BF16
                                                                         : PRECISION_FP32;
}

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#ifdef __clang__
#define COMPILER                                                                                   \
    "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__)
#else
#define COMPILER "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__)
#endif

static void describe(struct cpu *cpu, enum spec_precision precision)
{
    struct backend *table = &cpu->table;
    char library[BACKEND_ISA_MAX / 2];
    table->precision = cpu_precision(precision);
    cpu->bf16 = table->precision == PRECISION_BF16;
    table->act_bytes = cpu->bf16 ? sizeof(uint16_t) : sizeof(float);
    cpu_matmul_library(library, sizeof library);
    snprintf(table->isa, sizeof table->isa, "%s, %s, %s, glibc %s", cpu_isa_name(cpu->isa), library,
             COMPILER, gnu_get_libc_version());
    device_name(table->device, sizeof table->device);
}

int cpu_backend_open(int threads, enum spec_precision precision, struct backend **out,
                     struct err *err)
{
    enum cpu_isa isa;
    if (threads < 0 || threads > CPU_THREADS_MAX)
        return err_set(err, ERR_INVALID, "%d threads: 0 to %d are possible", threads,
                       CPU_THREADS_MAX);
    if (cpu_isa_choose(&isa, err) != 0)
        return -1;
    struct cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return err_set(err, ERR_NO_MEMORY, "no memory for a backend");
    cpu->table = cpu_table;
    cpu->isa = isa;
    err_clear(&cpu->fault);
    describe(cpu, precision);
    for (int i = 0; i < FILES_OF_LOOPS; i++)
        files[isa][i](cpu);
    if (backend_check(&cpu->table, err) != 0 || choose_threads(cpu, threads, err) != 0 ||
        cpu_matmul_open(isa, &cpu->matmul, err) != 0) {
        cpu_close(&cpu->table);
        return -1;
    }
    *out = &cpu->table;
    return 0;
}
