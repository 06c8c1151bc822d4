/* The execution layer itself (tests/lib/cuda_host.h): correct kernels give the
 * same in every order of threads; a missing barrier shows; a barrier or shuffle
 * that not all reach ends the program and says where; memory is poisoned and its
 * bounds are seen; streams, graphs, errors and memory act as a device's. */
#include "tests/lib/cuda_host.h"
#include "tests/lib/cuda_host_control.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

namespace
{

enum { THREADS = 256, BLOCKS = 7 };
const unsigned full = 0xffffffffu;

/* ---- kernels ---- */

/* sums[block] = sum over its threads of their index in the grid; by shuffles in
 * the warp, then by shared memory. `first` and `second` say which barriers are there. */
template <bool first, bool second> __global__ void reduce(float *sums, int rounds)
{
    DYNAMIC_SHARED(float, partial);
    for (int round = 0; round < rounds; round++) {
        float value = (float)(blockIdx.x * blockDim.x + threadIdx.x + (unsigned)round);
        for (int distance = warpSize / 2; distance > 0; distance /= 2)
            value += __shfl_xor_sync(full, value, distance);
        if (threadIdx.x % warpSize == 0)
            partial[threadIdx.x / warpSize] = value;
        if (first)
            __syncthreads();
        value = 0;
        for (unsigned w = 0; w < blockDim.x / warpSize; w++)
            value += partial[w];
        sums[(blockIdx.x * (unsigned)rounds + (unsigned)round) * blockDim.x + threadIdx.x] = value;
        if (second)
            __syncthreads();
    }
}

__global__ void lanes(int *to_one, double *down, float *up, int *swapped)
{
    const int lane = (int)threadIdx.x % warpSize;
    to_one[threadIdx.x] = __shfl_sync(full, lane * 10, 5);
    down[threadIdx.x] = __shfl_down_sync(full, lane * 0.5, 3);
    up[threadIdx.x] = __shfl_up_sync(full, lane * 0.25f, 2);
    swapped[threadIdx.x] = __shfl_xor_sync(full, (int)threadIdx.x, 1);
    __syncwarp();
}

__global__ void copy_shared(unsigned *out, unsigned value)
{
    DYNAMIC_SHARED(unsigned, words);
    out[blockIdx.x * blockDim.x + threadIdx.x] = words[threadIdx.x];
    words[threadIdx.x] = value;
}

__global__ void number_blocks(unsigned *next, unsigned *number)
{
    if (threadIdx.x == 0)
        number[blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)] = (*next)++;
}

__global__ void fill(float *out, int n, float value)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        out[i] = value;
}

__global__ void increase(float *out)
{
    out[threadIdx.x] += 1;
}

/* ---- kernels with faults ---- */

__global__ void some_return(float *)
{
    if (threadIdx.x == 40)
        return;
    __syncthreads();
}

__global__ void two_barriers(float *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    *out = 1;
}

__global__ void barrier_and_shuffle(float *out)
{
    if (threadIdx.x < 33)
        __syncthreads();
    else
        *out = __shfl_sync(full, 1.0f, 0);
}

__global__ void shuffle_without_a_lane(float *out)
{
    if (threadIdx.x != 7)
        *out = __shfl_sync(full, 1.0f, 0);
}

__global__ void two_shuffles(float *out)
{
    if (threadIdx.x % 2)
        *out = __shfl_sync(full, 1.0f, 0);
    else
        *out = __shfl_sync(full, 2.0f, 0);
}

__global__ void half_a_warp(float *out)
{
    *out = __shfl_sync(0xffffu, 1.0f, 0);
}

#ifdef __SANITIZE_ADDRESS__
__global__ void beyond_shared(float *out)
{
    DYNAMIC_SHARED(float, numbers);
    *out = numbers[blockDim.x];
}

__global__ void beyond_global(float *out)
{
    out[blockDim.x] = 1;
}
#endif

/* ---- helpers ---- */

cudaStream_t stream;

int set_up(void **)
{
    cuda_host_order = CUDA_HOST_FORWARD;
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess;
}

int tear_down(void **)
{
    cuda_host_recover();
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    assert_int_equal(cuda_host_allocated(), 0);
    return 0;
}

void next_order(void)
{
    cuda_host_order = (enum cuda_host_order)(cuda_host_order + 1);
}

template <class T> T *device_array(size_t n)
{
    T *memory;
    assert_int_equal(cudaMalloc(&memory, n * sizeof(T)), cudaSuccess);
    return memory;
}

void finish(void)
{
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
}

/* Wrong sums of a reduction with some of its barriers, in one order of threads. */
template <bool first, bool second> int wrong_sums(void)
{
    enum { ROUNDS = 3 };
    float *sums = device_array<float>(BLOCKS * ROUNDS * THREADS);
    CUDA_HOST_LAUNCH(stream, (reduce<first, second>), BLOCKS, THREADS,
                     THREADS / warpSize * sizeof(float), sums, ROUNDS);
    finish();
    int wrong = 0;
    for (int b = 0; b < BLOCKS; b++)
        for (int r = 0; r < ROUNDS; r++)
            for (int t = 0; t < THREADS; t++) {
                const float expected =
                    (float)(THREADS * (b * THREADS + r) + THREADS * (THREADS - 1) / 2);
                wrong += !(sums[(b * ROUNDS + r) * THREADS + t] == expected);
            }
    assert_int_equal(cudaFree(sums), cudaSuccess);
    return wrong;
}

/* Runs a kernel of one float in a process of its own: it must end by a signal or
 * with a status, and say `expected`. */
void must_die(void (*kernel)(float *), const char *name, const char *expected)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        float *out = device_array<float>(64);
        cuda_host_start(name, stream, dim3(2), 64, 64 * sizeof(float), kernel, out);
        cudaStreamSynchronize(stream);
        _exit(0);
    }
    close(ends[1]);
    char said[16384] = "";
    size_t n = 0;
    for (ssize_t got;
         n < sizeof said - 1 && (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status == 0)
        fail_msg("%s ended well", name);
    if (!strstr(said, expected))
        fail_msg("%s: \"%s\" is not in: %s", name, expected, said);
}

/* ---- tests ---- */

void test_shuffles(void **)
{
    for (; cuda_host_order < CUDA_HOST_ORDERS; next_order()) {
        int *to_one = device_array<int>(THREADS), *swapped = device_array<int>(THREADS);
        double *down = device_array<double>(THREADS);
        float *up = device_array<float>(THREADS);
        CUDA_HOST_LAUNCH(stream, lanes, 1, THREADS, 0, to_one, down, up, swapped);
        finish();
        for (int t = 0; t < THREADS; t++) {
            const int lane = t % warpSize;
            assert_int_equal(to_one[t], 50);
            assert_true(down[t] == (lane + 3 < warpSize ? lane + 3 : lane) * 0.5);
            assert_true(up[t] == (float)(lane >= 2 ? lane - 2 : lane) * 0.25f);
            assert_int_equal(swapped[t], t ^ 1);
        }
        assert_int_equal(cudaFree(to_one), cudaSuccess);
        assert_int_equal(cudaFree(swapped), cudaSuccess);
        assert_int_equal(cudaFree(down), cudaSuccess);
        assert_int_equal(cudaFree(up), cudaSuccess);
    }
}

void test_barriers(void **)
{
    const uint64_t before = cuda_host_counts.barriers;
    for (; cuda_host_order < CUDA_HOST_ORDERS; next_order())
        assert_int_equal((wrong_sums<true, true>()), 0);
    assert_int_equal(cuda_host_counts.barriers - before, CUDA_HOST_ORDERS * BLOCKS * 3 * 2);
}

/* Either barrier of the reduction may be the missing one: what is read too early
 * is there in every order, what is overwritten too early as well. */
void test_missing_barrier_shows(void **)
{
    for (; cuda_host_order < CUDA_HOST_ORDERS; next_order()) {
        assert_true((wrong_sums<false, true>()) > 0);
        assert_true((wrong_sums<true, false>()) > 0);
    }
}

void test_shared_memory_is_poisoned(void **)
{
    unsigned *out = device_array<unsigned>(BLOCKS * THREADS);
    CUDA_HOST_LAUNCH(stream, copy_shared, BLOCKS, THREADS, THREADS * sizeof *out, out, 12u);
    finish();
    for (int i = 0; i < BLOCKS * THREADS; i++)
        assert_int_equal(out[i], 0xffffffffu);
    assert_true(cudaFree(out) == cudaSuccess);
}

void test_order_of_blocks(void **)
{
    const dim3 grid(3, 2, 2);
    enum { COUNT = 12 };
    unsigned seen[CUDA_HOST_ORDERS][COUNT];
    for (; cuda_host_order < CUDA_HOST_ORDERS; next_order()) {
        unsigned *memory = device_array<unsigned>(COUNT + 1);
        assert_int_equal(cudaMemsetAsync(memory, 0, sizeof *memory, stream), cudaSuccess);
        CUDA_HOST_LAUNCH(stream, number_blocks, grid, 32, 0, memory, memory + 1);
        finish();
        memcpy(seen[cuda_host_order], memory + 1, sizeof *seen);
        assert_int_equal(memory[0], COUNT);
        assert_int_equal(cudaFree(memory), cudaSuccess);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(seen[CUDA_HOST_FORWARD][i], i);
        assert_int_equal(seen[CUDA_HOST_BACKWARD][i], COUNT - 1 - i);
    }
    assert_memory_not_equal(seen[CUDA_HOST_SHUFFLE_1], seen[CUDA_HOST_SHUFFLE_2], sizeof *seen);
    assert_memory_not_equal(seen[CUDA_HOST_SHUFFLE_1], seen[CUDA_HOST_FORWARD], sizeof *seen);
}

void test_faults_end_the_program(void **)
{
    must_die(some_return, "some_return", "kernel some_return, block (0, 0, 0): barrier at ");
    must_die(some_return, "some_return", "thread 40 has returned");
    must_die(two_barriers, "two_barriers", "thread 32 is at the barrier of ");
    must_die(barrier_and_shuffle, "barrier_and_shuffle", "thread 33 waits for its warp");
    must_die(shuffle_without_a_lane, "shuffle_without_a_lane",
             "lanes of its warp that have returned");
    must_die(two_shuffles, "two_shuffles", "thread 1 is here, thread 0 of its warp at ");
    must_die(half_a_warp, "half_a_warp", "a mask of less than the whole warp (0xffff)");
}

#ifdef __SANITIZE_ADDRESS__
void test_bounds_are_seen(void **)
{
    must_die(beyond_shared, "beyond_shared", "heap-buffer-overflow");
    must_die(beyond_global, "beyond_global", "heap-buffer-overflow");
}
#endif

/* Nothing runs before somebody waits; a pinned source is read late. */
void test_streams_are_lazy(void **)
{
    float pageable = 3, *pinned, *memory = device_array<float>(4);
    assert_int_equal(cudaMallocHost(&pinned, sizeof *pinned), cudaSuccess);
    *pinned = 4;
    CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 2, 2.0f);
    assert_int_equal(
        cudaMemcpyAsync(memory + 2, &pageable, sizeof *memory, cudaMemcpyHostToDevice, stream),
        cudaSuccess);
    assert_int_equal(
        cudaMemcpyAsync(memory + 3, pinned, sizeof *memory, cudaMemcpyHostToDevice, stream),
        cudaSuccess);
    pageable = *pinned = 5;
    for (int i = 0; i < 4; i++)
        assert_true(memory[i] != memory[i]);
    cudaEvent_t event;
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    const float expected[] = {2, 2, 3, 5};
    assert_memory_equal(memory, expected, sizeof expected);
    float back[4];
    assert_int_equal(cudaMemcpy(back, memory, sizeof back, cudaMemcpyDeviceToHost), cudaSuccess);
    assert_memory_equal(back, expected, sizeof expected);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
}

void test_graphs_replay(void **)
{
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    float *memory = device_array<float>(32);
    CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, 0.0f);
    finish();
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    CUDA_HOST_LAUNCH(stream, increase, 1, 32, 0, memory);
    CUDA_HOST_LAUNCH(stream, increase, 1, 32, 0, memory);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&ready, graph), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    finish();
    assert_true(memory[31] == 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(ready, stream), cudaSuccess);
    finish();
    assert_true(memory[31] == 6);
    assert_int_equal(cudaGraphExecDestroy(ready), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
}

cudaError_t wait_for_stream(void)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t take_memory(void)
{
    void *memory;
    return cudaMalloc(&memory, 4);
}

cudaError_t take_pinned_memory(void)
{
    void *memory;
    return cudaHostAlloc(&memory, 4, cudaHostAllocMapped);
}

cudaError_t copy_pageable_memory(void)
{
    static float from, to;
    return cudaMemcpyAsync(&to, &from, sizeof to, cudaMemcpyHostToDevice, stream);
}

cudaError_t capture_again(void)
{
    return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}

/* What may not stand in a capture says so, and but for a second beginning the
 * capture is lost. */
void test_captures_are_spoilt(void **)
{
    const struct {
        cudaError_t (*call)(void);
        cudaError_t end;
    } calls[] = {
        {wait_for_stream, cudaErrorStreamCaptureInvalidated},
        {cudaDeviceSynchronize, cudaErrorStreamCaptureInvalidated},
        {take_memory, cudaErrorStreamCaptureInvalidated},
        {take_pinned_memory, cudaErrorStreamCaptureInvalidated},
        {copy_pageable_memory, cudaErrorStreamCaptureInvalidated},
        {capture_again, cudaSuccess},
    };
    for (const auto &c : calls) {
        cudaGraph_t graph;
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                         cudaSuccess);
        assert_int_equal(c.call(), cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), c.end);
        if (c.end == cudaSuccess)
            assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
        cudaGetLastError();
        finish();
    }
}

/* A copy on a second stream, of what the first one writes before and after it:
 * right where the first stream waits before it writes again, and too late where it
 * waits only then; and a graph whose second stream nobody waits for is refused. */
void test_streams_meet(void **)
{
    cudaStream_t side;
    cudaEvent_t fork, meet;
    float *memory = device_array<float>(32), *copy = device_array<float>(32);
    assert_int_equal(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&meet, cudaEventDisableTiming), cudaSuccess);
    const auto work = [&](bool early, bool late) {
        CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, 1.0f);
        assert_int_equal(cudaEventRecord(fork, stream), cudaSuccess);
        assert_int_equal(cudaStreamWaitEvent(side, fork), cudaSuccess);
        assert_int_equal(
            cudaMemcpyAsync(copy, memory, 32 * sizeof *copy, cudaMemcpyDeviceToDevice, side),
            cudaSuccess);
        assert_int_equal(cudaEventRecord(meet, side), cudaSuccess);
        if (early)
            assert_int_equal(cudaStreamWaitEvent(stream, meet), cudaSuccess);
        CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, 2.0f);
        if (late)
            assert_int_equal(cudaStreamWaitEvent(stream, meet), cudaSuccess);
    };
    for (int early = 0; early < 2; early++) {
        cudaGraph_t graph;
        cudaGraphExec_t ready;
        memset(copy, 0, 32 * sizeof *copy);
        work(early, true);
        finish();
        assert_true(copy[31] == (early ? 1 : 2));
        memset(copy, 0, 32 * sizeof *copy);
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                         cudaSuccess);
        work(early, true);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
        assert_int_equal(cudaGraphInstantiate(&ready, graph), cudaSuccess);
        assert_int_equal(cudaGraphLaunch(ready, stream), cudaSuccess);
        finish();
        assert_true(copy[31] == (early ? 1 : 2) && memory[31] == 2);
        assert_int_equal(cudaGraphExecDestroy(ready), cudaSuccess);
        assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    }
    cudaGraph_t graph;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    work(false, false);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
    cudaGetLastError();
    assert_int_equal(cudaEventDestroy(fork), cudaSuccess);
    assert_int_equal(cudaEventDestroy(meet), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(side), cudaSuccess);
    assert_int_equal(cudaFree(copy), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
}

/* Waiting for an event runs what stands before it and no more. */
void test_events_stand_in_the_stream(void **)
{
    const int64_t objects = cuda_host_objects();
    cudaEvent_t event;
    float *memory = device_array<float>(32);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cuda_host_objects(), objects + 1);
    CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, 1.0f);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, 2.0f);
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_true(memory[31] == 1);
    cuda_host_run();
    assert_true(memory[31] == 2);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cuda_host_objects(), objects);
    assert_int_equal(cudaFree(memory), cudaSuccess);
}

void test_errors(void **)
{
    float *memory = device_array<float>(32);
    const struct {
        unsigned grid, threads;
        size_t shared;
        cudaError_t expected;
    } refused[] = {
        {0, 32, 0, cudaErrorInvalidConfiguration},
        {1, 1056, 0, cudaErrorInvalidConfiguration},
        {1, 32, 49153, cudaErrorInvalidValue},
    };
    for (const auto &r : refused) {
        CUDA_HOST_LAUNCH(stream, increase, r.grid, r.threads, r.shared, memory);
        assert_int_equal(cudaPeekAtLastError(), r.expected);
        assert_int_equal(cudaGetLastError(), r.expected);
        finish();
    }
    assert_int_equal(
        cudaFuncSetAttribute(increase, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536),
        cudaSuccess);
    CUDA_HOST_LAUNCH(stream, increase, 1, 32, 65536, memory);
    finish();

    memset(memory, 0, sizeof *memory);
    cuda_host_fail_after(1, cudaErrorIllegalAddress);
    for (int i = 1; i <= 3; i++) {
        CUDA_HOST_LAUNCH(stream, fill, 1, 32, 0, memory, 32, (float)i);
        assert_int_equal(cudaGetLastError(), cudaSuccess);
    }
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
    for (int again = 0; again < 2; again++)
        assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
    assert_string_equal(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress");
    assert_string_equal(cudaGetErrorString(cudaErrorIllegalAddress),
                        "an illegal memory access was encountered");
    assert_true(memory[0] == 1);
    cuda_host_recover();
    assert_int_equal(cudaFree(memory), cudaSuccess);
}

void test_the_machine(void **)
{
    const struct cuda_host_machine usual = cuda_host_machine;
    size_t available, total;
    int count;
    void *memory;
    cuda_host_machine.memory = 1000;
    assert_int_equal(cudaMalloc(&memory, 600), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&available, &total), cudaSuccess);
    assert_int_equal(available, 400);
    assert_int_equal(total, 1000);
    void *more;
    assert_int_equal(cudaMalloc(&more, 401), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    cuda_host_machine.devices = 0;
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    cuda_host_machine.driver = 11000;
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    cuda_host_machine = usual;
    assert_int_equal(cudaGetDeviceCount(&count), cudaSuccess);
    assert_int_equal(count, 1);
    cudaGetLastError();
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shuffles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_barriers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_barrier_shows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared_memory_is_poisoned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_order_of_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults_end_the_program, set_up, tear_down),
#ifdef __SANITIZE_ADDRESS__
        cmocka_unit_test_setup_teardown(test_bounds_are_seen, set_up, tear_down),
#endif
        cmocka_unit_test_setup_teardown(test_streams_are_lazy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_graphs_replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_captures_are_spoilt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_streams_meet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_stand_in_the_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_machine, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
