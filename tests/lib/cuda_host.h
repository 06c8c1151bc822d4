/* cuda_host: runs CUDA kernels on the processor. The .cu files of gpu/cuda are
 * compiled as host C++ against this header instead of NVIDIA's, so that a machine
 * without a card executes every line of every kernel, under the sanitizers too.
 *
 * Blocks run one after another, the threads of a block as fibers; a thread runs
 * until it must wait (barrier, shuffle). Which of the ready threads goes on, and
 * which block is next, is the order under test (cuda_host_order): always the
 * first, always the last, or shuffled. Each lets one warp run as far ahead of the
 * others as it can, so a missing barrier shows. Shared memory is a heap block of
 * the exact size, filled with NaN before every block; a barrier that some threads
 * of the block do not reach, or reach elsewhere, and a shuffle that lanes of a
 * warp miss, end the program with the kernel, the block and the lines.
 *
 * Streams are lazy: launches and copies run when somebody waits for them, and only
 * those up to the event that is waited for. One host thread uses the layer. Tests only; the names are NVIDIA's. */
#ifndef TOKENFATE_CUDA_HOST_H
#define TOKENFATE_CUDA_HOST_H

#include <functional>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>

/* ---- the language ---- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __CUDA_ARCH_LIST__ 800, 860, 890, 900
#define CUDA_COMPILER "g++ " __VERSION__

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

/* Of the thread that runs now. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
enum { warpSize = 32 };

/* ---- waiting for others: who calls is found by file and line ---- */

void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE());

/* All 32 lanes of the warp meet here, each with `size` bytes (16 at most);
 * returns those of lane `source`, valid until the lane's next meeting but one. */
const void *cuda_host_meet(unsigned mask, const void *value, size_t size, unsigned source,
                           const char *file, int line);
unsigned cuda_host_lane(void);

static inline void __syncwarp(unsigned mask = 0xffffffffu, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE())
{
    cuda_host_meet(mask, NULL, 0, 0, file, line);
}

template <class T>
static inline T cuda_host_shuffle(unsigned mask, T value, unsigned source, const char *file,
                                  int line)
{
    static_assert(sizeof(T) <= 16, "a shuffle moves 16 bytes at most");
    T got;
    memcpy(&got, cuda_host_meet(mask, &value, sizeof value, source, file, line), sizeof got);
    return got;
}

template <class T>
static inline T __shfl_sync(unsigned mask, T value, int lane, const char *file = __builtin_FILE(),
                            int line = __builtin_LINE())
{
    return cuda_host_shuffle(mask, value, (unsigned)lane % warpSize, file, line);
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes,
                                const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    return cuda_host_shuffle(mask, value, (cuda_host_lane() ^ (unsigned)lanes) % warpSize, file,
                             line);
}

/* A lane without a partner below keeps its own value, as on the device. */
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta,
                                 const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const unsigned lane = cuda_host_lane();
    return cuda_host_shuffle(mask, value, lane + delta < warpSize ? lane + delta : lane, file,
                             line);
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta,
                               const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const unsigned lane = cuda_host_lane();
    return cuda_host_shuffle(mask, value, lane >= delta ? lane - delta : lane, file, line);
}

/* 16 bytes at once; an address that is no multiple of 16 ends the program. */
struct words {
    uint32_t at[4];
};
void cuda_host_aligned(const void *address, size_t to, const char *file, int line);

static inline struct words load_words(const void *from, const char *file = __builtin_FILE(),
                                      int line = __builtin_LINE())
{
    struct words words;
    cuda_host_aligned(from, sizeof words, file, line);
    memcpy(&words, from, sizeof words);
    return words;
}

static inline void store_words(void *to, struct words words, const char *file = __builtin_FILE(),
                               int line = __builtin_LINE())
{
    cuda_host_aligned(to, sizeof words, file, line);
    memcpy(to, &words, sizeof words);
}

static inline void store_word(void *to, uint32_t word, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE())
{
    cuda_host_aligned(to, sizeof word, file, line);
    memcpy(to, &word, sizeof word);
}

/* ---- tensor cores: twins of gpu/cuda/tensor.h, which says what they do ---- */

void cuda_host_multiply(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file,
                        int line);
void cuda_host_load_matrices(uint32_t out[4], const void *row, bool transposed, const char *file,
                             int line);

static inline void tensor_multiply(float c[4], const uint32_t a[4], const uint32_t b[2],
                                   const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    cuda_host_multiply(c, a, b, file, line);
}

static inline void tensor_load(uint32_t out[4], const void *row,
                               const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    cuda_host_load_matrices(out, row, false, file, line);
}

static inline void tensor_load_transposed(uint32_t out[4], const void *row,
                                          const char *file = __builtin_FILE(),
                                          int line = __builtin_LINE())
{
    cuda_host_load_matrices(out, row, true, file, line);
}

/* Copies that are on their way arrive when their thread waits, in some orders (two of
 * four) at once as well; one that nobody has waited for when its thread ends, ends the program. */
void copy_later(void *shared, const void *from, int there);
void copies_close_group(void);
void cuda_host_copies_wait(size_t but);
template <int but> static inline void copies_wait(void)
{
    cuda_host_copies_wait(but);
}

/* Start of the block's dynamic shared memory. */
void *cuda_host_shared(void);
#define DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(cuda_host_shared())

/* ---- the runtime: the part of its interface that gpu/cuda uses ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnjoined = 904
};

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum { cudaStreamDefault, cudaStreamNonBlocking };
enum { cudaHostAllocDefault, cudaHostAllocPortable, cudaHostAllocMapped };
enum { cudaEventDefault, cudaEventBlockingSync, cudaEventDisableTiming };

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
};

struct cudaFuncAttributes {
    int maxThreadsPerBlock, binaryVersion;
};

struct cuda_host_stream;
struct cuda_host_event;
struct cuda_host_graph;
using cudaStream_t = cuda_host_stream *;
using cudaEvent_t = cuda_host_event *;
using cudaGraph_t = cuda_host_graph *;
using cudaGraphExec_t = cuda_host_graph *;

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);

cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags);
cudaError_t cudaHostGetDevicePointer(void **out, void *memory, unsigned flags);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int byte, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

/* What is queued between begin and end is kept and not run; every launch of the
 * graph queues it again. A stream that waits for an event of the capture takes
 * part in it; what it was given runs as late as the graph allows: where another
 * stream waits for it. Calls that wait or allocate are refused meanwhile and spoil
 * the capture. */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);

cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t code);
const char *cudaGetErrorString(cudaError_t code);

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *kernel);
template <class... P>
static inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out,
                                                void (*kernel)(P...))
{
    return cudaFuncGetAttributes(out, reinterpret_cast<const void *>(kernel));
}
cudaError_t cuda_host_allow_shared(const void *kernel, size_t bytes);
template <class... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes)
{
    return cuda_host_allow_shared(reinterpret_cast<const void *>(kernel), (size_t)bytes);
}
template <class T> static inline cudaError_t cudaMalloc(T **out, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(out), bytes);
}
template <class T> static inline cudaError_t cudaMallocHost(T **out, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(out), bytes);
}

/* ---- launching ---- */

struct cuda_host_launch {
    const char *name;
    const void *kernel;
    dim3 grid;
    unsigned threads;
    size_t shared;
};

/* True while a stream is being captured. */
bool cuda_host_captures(void);
/* True, and the capture is spoilt, if the machine refuses this of captures. */
bool cuda_host_refuses(cudaStream_t stream, int what);
/* Queue work that is no kernel (a library's call). */
void cuda_host_enqueue(cudaStream_t stream, std::function<void()> work);
/* Queue a kernel; `thread` runs it once, as the thread that threadIdx names. */
void cuda_host_queue_kernel(cudaStream_t stream, const struct cuda_host_launch &launch,
                            std::function<void()> thread);

/* The arguments are converted and copied when the kernel is launched. */
template <class... P, class... A>
static inline void cuda_host_start(const char *name, cudaStream_t stream, dim3 grid,
                                   unsigned threads, size_t shared, void (*kernel)(P...),
                                   const A &...arguments)
{
    const cuda_host_launch launch = {name, reinterpret_cast<const void *>(kernel), grid, threads,
                                     shared};
    cuda_host_queue_kernel(stream, launch, [kernel, copies = std::tuple<P...>(arguments...)] {
        std::apply(kernel, copies);
    });
}

/* A kernel with commas in its name stands in parentheses. */
#define CUDA_HOST_LAUNCH(stream, kernel, grid, threads, shared, ...)                               \
    cuda_host_start(#kernel, stream, dim3(grid), threads, shared, kernel, __VA_ARGS__)

#endif
