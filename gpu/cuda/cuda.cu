/* cuda: see cuda.h. Opening and closing, memory, and copies between host and device. The table is
 * filled from all other files of this folder; none of them calls back. */
#include "gpu/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda/attention.h"
#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/elementwise.h"
#include "gpu/cuda/gemm.h"
#include "gpu/cuda/lm_head.h"
#include "gpu/cuda/matmul.h"
#include "gpu/cuda/ring.h"
#include "gpu/cuda/rows.h"
#include "gpu/cuda/tracked.h"

/* ---- memory ---- */

/* A program whose operations wait, allocate or copy cannot be recorded: a bug of the caller. */
static int stands_in_program(struct cuda *cuda, const char *what)
{
    char message[CUDA_NAME_MAX + 32];
    if (!cuda->capturing)
        return 0;
    snprintf(message, sizeof message, "%s inside a program", what);
    cuda_fault_keep(cuda, ERR_INTERNAL, message);
    return 1;
}

static int cuda_sync(struct backend *self, struct err *err)
{
    struct cuda *cuda = cuda_of(self);
    if (stands_in_program(cuda, "a wait"))
        return cuda_fault_report(cuda, err);
    char where[CUDA_NAME_MAX + 16];
    snprintf(where, sizeof where, "at or before %s", cuda->last);
    cuda_fault_check(cuda, cudaStreamSynchronize(cuda->stream), where);
    return cuda_fault_report(cuda, err);
}

static int64_t cuda_available(struct backend *self)
{
    size_t there = 0, all = 0;
    if (cuda_fault_check(cuda_of(self), cudaMemGetInfo(&there, &all), "cudaMemGetInfo") != 0)
        return 0;
    return (int64_t)there;
}

static void *cuda_alloc(struct backend *self, int64_t bytes, struct err *err)
{
    void *memory = NULL;
    if (stands_in_program(cuda_of(self), "an allocation")) {
        cuda_fault_report(cuda_of(self), err);
        return NULL;
    }
    const cudaError_t status = cudaMalloc(&memory, (size_t)bytes);
    if (status == cudaSuccess)
        return memory;
    if (status != cudaErrorMemoryAllocation) {
        cuda_fault_check(cuda_of(self), status, "cudaMalloc");
        err_set(err, ERR_DEVICE, "%s", cuda_of(self)->fault.message);
        return NULL;
    }
    (void)cudaGetLastError(); /* clear the status: missing memory is no fault of the device */
    err_set(err, ERR_NO_MEMORY, "%lld bytes wanted, %lld there", (long long)bytes,
            (long long)cuda_available(self));
    return NULL;
}

static void cuda_free(struct backend *self, void *memory)
{
    if (memory)
        cuda_fault_check(cuda_of(self), cudaFree(memory), "cudaFree");
}

static void cuda_zero(struct backend *self, void *memory, int64_t bytes)
{
    struct cuda *cuda = cuda_of(self);
    if (bytes > 0)
        cuda_fault_check(cuda, cudaMemsetAsync(memory, 0, (size_t)bytes, cuda->stream),
                         "cudaMemsetAsync");
}

/* ---- host and device ---- */

/* Storage format of a number. */
enum form { FORM_FLOAT, FORM_DOUBLE, FORM_INT32, FORM_BF16 };
static const size_t form_bytes[] = {sizeof(float), sizeof(double), sizeof(int32_t),
                                    sizeof(struct bf16)};

static enum form form_of(const struct cuda *cuda, enum backend_number number)
{
    if (number == NUMBER_INT32)
        return FORM_INT32;
    if (number == NUMBER_DOUBLE)
        return FORM_DOUBLE;
    return number == NUMBER_ACT && cuda->table.act_bytes == 2 ? FORM_BF16 : FORM_FLOAT;
}

static double get_number(const void *from, enum form form, int64_t i)
{
    if (form == FORM_DOUBLE)
        return static_cast<const double *>(from)[i];
    if (form == FORM_BF16)
        return (double)bf16_widen(static_cast<const struct bf16 *>(from)[i]);
    return (double)static_cast<const float *>(from)[i];
}

static void put_number(void *to, enum form form, int64_t i, double value)
{
    if (form == FORM_DOUBLE)
        static_cast<double *>(to)[i] = value;
    else if (form == FORM_BF16)
        static_cast<struct bf16 *>(to)[i] = bf16_narrow((float)value);
    else
        static_cast<float *>(to)[i] = (float)value;
}

static void convert(void *to, enum form to_form, const void *from, enum form from_form, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        put_number(to, to_form, i, get_number(from, from_form, i));
}

static int64_t piece(int64_t left)
{
    const int64_t most = CUDA_STAGING;
    return left < most ? left : most;
}

static int copy(struct cuda *cuda, void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (stands_in_program(cuda, "a copy"))
        return -1;
    snprintf(cuda->last, sizeof cuda->last, "cudaMemcpyAsync");
    return cuda_fault_check(cuda, cudaMemcpyAsync(to, from, bytes, kind, cuda->stream),
                            "cudaMemcpyAsync");
}

/* Both the host's memory and the staging buffer may be overwritten on return, so wait. The driver
 * usually has copied pageable memory by then, but does not promise it. */
static void copy_in(struct cuda *cuda, void *to, const void *from, size_t bytes)
{
    if (copy(cuda, to, from, bytes, cudaMemcpyHostToDevice) == 0)
        cuda_fault_check(cuda, cudaStreamSynchronize(cuda->stream), "cudaMemcpyAsync");
}

static void cuda_upload(struct backend *self, void *device, enum backend_number to,
                        const void *host, enum backend_number from, int64_t n)
{
    struct cuda *cuda = cuda_of(self);
    const enum form there = form_of(cuda, to), here = form_of(cuda, from);
    if (there == here) {
        if (n > 0)
            copy_in(cuda, device, host, (size_t)n * form_bytes[here]);
        return;
    }
    for (int64_t i = 0; i < n; i += CUDA_STAGING) {
        const int64_t part = piece(n - i);
        const char *source = static_cast<const char *>(host) + (size_t)i * form_bytes[here];
        convert(cuda->staging, there, source, here, part);
        copy_in(cuda, static_cast<char *>(device) + (size_t)i * form_bytes[there], cuda->staging,
                (size_t)part * form_bytes[there]);
    }
}

static int cuda_download(struct backend *self, void *host, enum backend_number to,
                         const void *device, enum backend_number from, int64_t n, struct err *err)
{
    struct cuda *cuda = cuda_of(self);
    const enum form here = form_of(cuda, to), there = form_of(cuda, from);
    if (here == there) {
        if (n > 0)
            copy(cuda, host, device, (size_t)n * form_bytes[here], cudaMemcpyDeviceToHost);
        return cuda_sync(self, err);
    }
    for (int64_t i = 0; i < n; i += CUDA_STAGING) {
        const int64_t part = piece(n - i);
        copy(cuda, cuda->staging, static_cast<const char *>(device) + (size_t)i * form_bytes[there],
             (size_t)part * form_bytes[there], cudaMemcpyDeviceToHost);
        if (cuda_sync(self, err) != 0)
            return -1;
        convert(static_cast<char *>(host) + (size_t)i * form_bytes[here], here, cuda->staging,
                there, part);
    }
    return cuda_sync(self, err);
}

/* ---- opening ---- */

/* Clear the runtime's sticky status: the first launch after a later successful attempt would report
 * it. */
static int unavailable(struct err *err, cudaError_t status, const char *call)
{
    (void)cudaGetLastError();
    return err_set(err, ERR_UNAVAILABLE, "%s: %s (%s)", call, cudaGetErrorName(status),
                   cudaGetErrorString(status));
}

/* An architecture has code if the attributes of one of our kernels can be read. */
__global__ void query_kernel(int *out)
{
    *out = 1;
}

/* First driver for Linux that runs programs of a major version of CUDA (NVIDIA's release notes). */
static const char *driver_for(int runtime)
{
    return runtime / 1000 == 12 ? "525.60.13" : "580.65.06";
}

static int find_devices(int *devices, struct err *err)
{
    int driver = 0, runtime = 0;
    cudaError_t status = cudaDriverGetVersion(&driver);
    if (status != cudaSuccess)
        return unavailable(err, status, "cudaDriverGetVersion");
    if (driver == 0)
        return err_set(err, ERR_UNAVAILABLE, "no NVIDIA driver is installed");
    status = cudaGetDeviceCount(devices);
    if (status != cudaSuccess)
        (void)cudaGetLastError(); /* see unavailable */
    if (status == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess)
        return err_set(
            err, ERR_UNAVAILABLE,
            "the NVIDIA driver is for CUDA %d.%d, this build needs %d.%d: driver %s or newer",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10,
            driver_for(runtime));
    return status == cudaSuccess ? 0 : unavailable(err, status, "cudaGetDeviceCount");
}

static int describe(int device, cudaDeviceProp *properties, struct err *err)
{
    int devices = 0;
    if (find_devices(&devices, err) != 0)
        return -1;
    if (device < 0 || device >= devices)
        return err_set(err, ERR_UNAVAILABLE, "no CUDA device %d, there %s %d", device,
                       devices == 1 ? "is" : "are", devices);
    const cudaError_t status = cudaGetDeviceProperties(properties, device);
    return status == cudaSuccess ? 0 : unavailable(err, status, "cudaGetDeviceProperties");
}

int cuda_backend_query(int device, char *name, int64_t *bytes, struct err *err)
{
    cudaDeviceProp properties;
    if (describe(device, &properties, err) != 0)
        return -1;
    snprintf(name, BACKEND_DEVICE_MAX, "%.*s", BACKEND_DEVICE_MAX - 1, properties.name);
    *bytes = (int64_t)properties.totalGlobalMem;
    return 0;
}

/* 1 if code with binary version `binary` (90 for 9.0) was compiled with this build; else the driver
 * has compiled our PTX for this card. */
static int is_ours(int binary)
{
    static const int compiled[] = {__CUDA_ARCH_LIST__};
    for (size_t i = 0; i < sizeof compiled / sizeof *compiled; i++)
        if (compiled[i] == binary * 10)
            return 1;
    return 0;
}

/* Name what determines the bits besides the build: card, library and rule of the products, compiler
 * of the kernels. */
static void name_bits(struct cuda *cuda, int binary)
{
    char *isa = cuda->table.isa, library[BACKEND_ISA_MAX / 2];
    int driver = 0;
    cuda_gemm_library(library, sizeof library);
    const int used = snprintf(isa, BACKEND_ISA_MAX, "sm_%d, %s, rule %d, %s", cuda->architecture,
                              library, CUDA_GEMM_RULE, CUDA_COMPILER);
    if (used < BACKEND_ISA_MAX && !is_ours(binary) && cudaDriverGetVersion(&driver) == cudaSuccess)
        snprintf(isa + used, (size_t)(BACKEND_ISA_MAX - used), ", driver %d.%d", driver / 1000,
                 driver % 1000 / 10);
}

static int take_device(struct cuda *cuda, int device, struct err *err)
{
    cudaDeviceProp properties;
    cudaFuncAttributes attributes;
    if (describe(device, &properties, err) != 0)
        return -1;
    cudaError_t status = cudaSetDevice(device);
    if (status != cudaSuccess)
        return unavailable(err, status, "cudaSetDevice");
    status = cudaFuncGetAttributes(&attributes, query_kernel);
    if (status != cudaSuccess) {
        unavailable(err, status, "cudaFuncGetAttributes");
        return err_set(err, ERR_UNAVAILABLE, "%s has architecture %d.%d, no code for it: %s",
                       properties.name, properties.major, properties.minor,
                       cudaGetErrorName(status));
    }
    cuda->shared_max = properties.sharedMemPerBlockOptin;
    cuda->architecture = properties.major * 10 + properties.minor;
    snprintf(cuda->table.device, sizeof cuda->table.device, "%.*s", BACKEND_DEVICE_MAX - 1,
             properties.name);
    name_bits(cuda, attributes.binaryVersion);
    return 0;
}

static void cuda_close(struct backend *self)
{
    struct cuda *cuda = cuda_of(self);
    cuda_gemm_close(cuda);
    /* Errors of a broken device are ignored from here on. */
    cuda_discard(cuda->scratch);
    if (cuda->stream)
        (void)cudaStreamDestroy(cuda->stream);
    free(cuda->staging);
    free(cuda);
}

static void fill_table(struct backend *table, int is_bf16)
{
    table->name = "cuda";
    table->threads = 1;
    table->head_max = CUDA_HEAD_MAX;
    table->lm_head_chunk = MEMORY_HEAD_CHUNK_CUDA;
    table->reserve = MEMORY_CUDA_PROGRAMS;
    table->precision = is_bf16 ? PRECISION_BF16 : PRECISION_FP32;
    table->real_bytes = sizeof(float);
    table->act_bytes = is_bf16 ? sizeof(struct bf16) : sizeof(float);
    table->close = cuda_close;
    table->available = cuda_available;
    table->alloc = cuda_alloc;
    table->free = cuda_free;
    table->zero = cuda_zero;
    table->upload = cuda_upload;
    table->download = cuda_download;
    table->sync = cuda_sync;
    cuda_ring_fill(table);
    cuda_elementwise_fill(table, is_bf16);
    cuda_rows_fill(table, is_bf16);
    cuda_matmul_fill(table, is_bf16);
    cuda_attention_fill(table, is_bf16);
    cuda_lm_head_fill(table, is_bf16);
    cuda_tracked_fill(table, is_bf16);
}

static int open_stream(struct cuda *cuda, struct err *err)
{
    cudaError_t status = cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking);
    if (status != cudaSuccess)
        return unavailable(err, status, "cudaStreamCreateWithFlags");
    cuda->staging = malloc(CUDA_STAGING * sizeof(float));
    if (!cuda->staging)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d staged numbers", CUDA_STAGING);
    cuda->scratch = cuda_alloc(&cuda->table, CUDA_SCRATCH, err);
    return cuda->scratch ? cuda_gemm_open(cuda, err) : -1;
}

int cuda_backend_open(int device, enum spec_precision precision, struct backend **out,
                      struct err *err)
{
    struct cuda *cuda = static_cast<struct cuda *>(calloc(1, sizeof *cuda));
    if (!cuda)
        return err_set(err, ERR_NO_MEMORY, "no memory for a backend");
    err_clear(&cuda->fault);
    fill_table(&cuda->table, precision == PRECISION_BF16);
    if (take_device(cuda, device, err) != 0 || open_stream(cuda, err) != 0) {
        cuda_close(&cuda->table);
        (void)cudaGetLastError(); /* see unavailable */
        return -1;
    }
    *out = &cuda->table;
    return 0;
}
