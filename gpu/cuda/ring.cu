/* ring: see ring.h. At first a program's operations run one by one, each waited for: cuBLASLt's
 * algorithms are chosen, and a fault is attributed to its kernel. The second time they are captured
 * as a CUDA graph, which from then on starts as a whole. Where the driver refuses that, the backend
 * has a notice, and operations are queued one by one, without waiting in between. The graph finds its slot by a counter of
 * finished programs on the device. Slots are pinned host memory that kernels read and write
 * directly; published data are written by a side stream, concurrently with the operations that
 * follow.
 *
 * Invariant: `finished`, written by the last kernel of a program, is copied to host memory, so that
 * after a fault the host knows which programs had finished. */
#include "gpu/cuda/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda/cuda_internal.h"
#include "gpu/cuda/gemm.h"

enum {
    PUBLISH_BLOCKS =
        8, /* enough to saturate the bus, few enough to leave the card to the other kernels */
    FEED_BLOCKS = 64
};

/* Kernel argument: where a program finds its slot. */
struct slots {
    const int64_t *finished; /* device: programs finished */
    char *memory;            /* the ring, as a device address */
    int64_t slot_bytes;
    int n;
};

struct program {
    int tried;             /* its operations have run once, one by one */
    cudaGraphExec_t graph; /* NULL: not recorded yet */
};

struct cuda_ring {
    struct backend_ring ring; /* first: a struct backend_ring * points to its struct cuda_ring */
    struct slots slots;
    int64_t *finished;               /* device */
    const volatile int64_t *reached; /* host: last value of `finished`, behind the slots */
    int64_t broken;         /* first program without results because of a fault; -1: none */
    cudaStream_t side;      /* stream that publishes */
    cudaEvent_t fork, join; /* fork from the backend's stream and join it again */
    int forked;
    cudaEvent_t done[CUDA_SLOTS];         /* end of the program in each slot */
    char last[CUDA_SLOTS][CUDA_NAME_MAX]; /* operation queued last for it */
    struct program program[BACKEND_PROGRAMS];
};

static struct cuda_ring *ring_of(struct backend_ring *ring)
{
    return reinterpret_cast<struct cuda_ring *>(ring);
}

/* ---- kernels ---- */

struct alignas(16) quad {
    uint32_t word[4];
};

/* Addresses are multiples of 16, `bytes` of 4. */
__device__ __forceinline__ void copy_bytes(char *to, const char *from, int64_t bytes)
{
    const int64_t quads = bytes / 16, threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = grid_index(); i < quads; i += threads)
        reinterpret_cast<struct quad *>(to)[i] = reinterpret_cast<const struct quad *>(from)[i];
    const int64_t i = quads * 4 + grid_index();
    if (i < bytes / 4)
        reinterpret_cast<uint32_t *>(to)[i] = reinterpret_cast<const uint32_t *>(from)[i];
}

__device__ __forceinline__ char *slot_of(struct slots slots, int64_t offset)
{
    return slots.memory + *slots.finished % slots.n * slots.slot_bytes + offset;
}

__global__ void feed_kernel(char *device, struct slots slots, int64_t offset, int64_t bytes)
{
    copy_bytes(device, slot_of(slots, offset), bytes);
}

__global__ void publish_kernel(struct slots slots, int64_t offset, const char *device,
                               int64_t bytes)
{
    copy_bytes(slot_of(slots, offset), device, bytes);
}

__global__ void finish_kernel(int64_t *finished, int64_t *reached)
{
    if (threadIdx.x == 0)
        *reached = ++*finished;
}

/* ---- opening ---- */

static void close_objects(struct cuda_ring *ring)
{
    const cudaEvent_t events[] = {ring->fork, ring->join};
    for (int i = 0; i < BACKEND_PROGRAMS; i++)
        if (ring->program[i].graph)
            (void)cudaGraphExecDestroy(ring->program[i].graph);
    for (int i = 0; i < CUDA_SLOTS; i++)
        if (ring->done[i])
            (void)cudaEventDestroy(ring->done[i]);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            (void)cudaEventDestroy(events[i]);
    if (ring->side)
        (void)cudaStreamDestroy(ring->side);
}

/* Errors of a broken device are ignored here. */
static void ring_close(struct backend *self, struct backend_ring *closed)
{
    if (!closed)
        return;
    struct cuda_ring *ring = ring_of(closed);
    (void)cudaStreamSynchronize(cuda_of(self)->stream);
    close_objects(ring);
    cuda_discard(ring->finished);
    if (closed->memory)
        (void)cudaFreeHost(closed->memory);
    cuda_of(self)->rings--;
    free(ring);
}

/* Who waits for an event sleeps: a core that spins for each job would be missed by the others. */
static cudaError_t open_objects(struct cuda_ring *ring)
{
    cudaEvent_t *const events[] = {&ring->fork, &ring->join, &ring->done[0], &ring->done[1],
                                   &ring->done[2]};
    static_assert(CUDA_SLOTS == 3, "an event for each slot");
    cudaError_t status = cudaStreamCreateWithFlags(&ring->side, cudaStreamNonBlocking);
    for (size_t i = 0; i < sizeof events / sizeof *events && status == cudaSuccess; i++)
        status =
            cudaEventCreateWithFlags(events[i], cudaEventDisableTiming | cudaEventBlockingSync);
    return status;
}

static cudaError_t allocate(struct cuda *cuda, struct cuda_ring *ring, size_t bytes)
{
    void *host = NULL, *device = NULL, *finished = NULL;
    cudaError_t status = cudaHostAlloc(&host, bytes + sizeof *ring->finished, cudaHostAllocMapped);
    ring->ring.memory = static_cast<char *>(host);
    if (status == cudaSuccess)
        status = cudaHostGetDevicePointer(&device, host, 0);
    if (status == cudaSuccess)
        status = cudaMalloc(&finished, sizeof *ring->finished);
    ring->finished = static_cast<int64_t *>(finished);
    if (status != cudaSuccess)
        return status;
    memset(host, 0, bytes + sizeof *ring->finished);
    ring->slots.memory = static_cast<char *>(device);
    ring->slots.finished = ring->finished;
    ring->reached = reinterpret_cast<const volatile int64_t *>(ring->ring.memory + bytes);
    return cudaMemsetAsync(ring->finished, 0, sizeof *ring->finished, cuda->stream);
}

static struct backend_ring *ring_open(struct backend *self, int64_t slot_bytes, struct err *err)
{
    const size_t bytes = (size_t)CUDA_SLOTS * (size_t)slot_bytes;
    struct cuda_ring *ring = static_cast<struct cuda_ring *>(calloc(1, sizeof *ring));
    if (!ring) {
        err_set(err, ERR_NO_MEMORY, "no memory for a ring");
        return NULL;
    }
    cuda_gemm_begin(cuda_of(self));
    cuda_of(self)->rings++;
    ring->broken = -1;
    ring->ring.slots = ring->slots.n = CUDA_SLOTS;
    ring->ring.slot_bytes = ring->slots.slot_bytes = slot_bytes;
    cudaError_t status = allocate(cuda_of(self), ring, bytes);
    if (status == cudaSuccess)
        status = open_objects(ring);
    if (status == cudaSuccess)
        return &ring->ring;
    (void)cudaGetLastError();
    err_set(err, status == cudaErrorMemoryAllocation ? ERR_NO_MEMORY : ERR_DEVICE,
            "%d slots of %lld bytes for batches and results: %s (%s)", CUDA_SLOTS,
            (long long)slot_bytes, cudaGetErrorName(status), cudaGetErrorString(status));
    ring_close(self, &ring->ring);
    return NULL;
}

/* ---- programs ---- */

/* After a fault nothing more is queued. */
static int is_broken(struct cuda *cuda, struct cuda_ring *ring)
{
    if (cuda->fault.code != ERR_NONE && ring->broken < 0)
        ring->broken = ring->ring.started;
    return ring->broken >= 0;
}

/* No program is recorded from now on. A fault of an earlier program, which every call returns, is
 * no refusal. */
static void after_refusal(struct cuda *cuda)
{
    cuda->capturing = 0;
    (void)cudaGetLastError(); /* clears the status of a call, not that of the device */
    const cudaError_t status = cudaGetLastError();
    if (status == cudaSuccess)
        return;
    cuda->table.notice[0] = '\0';
    cuda_fault_check(cuda, status, cuda->last);
}

static int program_begin(struct backend *self, struct backend_ring *begun, int number)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_ring *ring = ring_of(begun);
    const struct program *program = &ring->program[number];
    if (is_broken(cuda, ring) || program->graph)
        return 0;
    cuda->each = !program->tried;
    if (cuda->each || cuda->table.notice[0])
        return 1;
    cuda->capturing = 1;
    if (cuda_fault_check(cuda,
                         cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal),
                         "cudaStreamBeginCapture") != 0)
        after_refusal(cuda);
    return !is_broken(cuda, ring);
}

/* Queue the last operations of every program. */
static void finish(struct cuda *cuda, struct cuda_ring *ring)
{
    const int64_t bytes = ring->ring.slots * ring->ring.slot_bytes;
    if (ring->forked) {
        cuda_fault_check(cuda, cudaEventRecord(ring->join, ring->side), "cudaEventRecord");
        cuda_fault_check(cuda, cudaStreamWaitEvent(cuda->stream, ring->join, 0),
                         "cudaStreamWaitEvent");
        ring->forked = 0;
    }
    LAUNCH(cuda, finish_kernel, 1, CUDA_WARP, 0, ring->finished,
           reinterpret_cast<int64_t *>(ring->slots.memory + bytes));
}

static void record(struct cuda *cuda, struct program *program)
{
    cudaGraph_t graph = NULL;
    cuda_fault_check(cuda, cudaStreamEndCapture(cuda->stream, &graph), "cudaStreamEndCapture");
    if (cuda->fault.code == ERR_NONE && !cuda->table.notice[0])
        cuda_fault_check(cuda, cudaGraphInstantiate(&program->graph, graph, 0),
                         "cudaGraphInstantiate");
    if (graph)
        (void)cudaGraphDestroy(graph);
    cuda->capturing = 0;
    if (cuda->table.notice[0])
        after_refusal(cuda);
}

static int program_end(struct backend *self, struct backend_ring *ended, int number)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_ring *ring = ring_of(ended);
    struct program *program = &ring->program[number];
    const int64_t slot = ended->started % ended->slots;
    if (cuda->capturing || (!program->graph && !is_broken(cuda, ring)))
        finish(cuda, ring);
    cuda->each = 0;
    program->tried = 1;
    if (cuda->capturing) {
        record(cuda, program);
        if (!program->graph && !is_broken(cuda, ring))
            return 1;
    }
    if (program->graph && !is_broken(cuda, ring)) {
        snprintf(cuda->last, sizeof cuda->last, "recorded program %d", number);
        cuda_fault_check(cuda, cudaGraphLaunch(program->graph, cuda->stream), "cudaGraphLaunch");
    }
    if (!is_broken(cuda, ring))
        cuda_fault_check(cuda, cudaEventRecord(ring->done[slot], cuda->stream), "cudaEventRecord");
    (void)is_broken(cuda, ring); /* a fault of these calls belongs to this program */
    snprintf(ring->last[slot], sizeof ring->last[slot], "%s", cuda->last);
    ended->started++;
    return 0;
}

/* ---- slots ---- */

static unsigned blocks_for(int64_t bytes, int most)
{
    const unsigned blocks = cuda_blocks((bytes + 15) / 16, CUDA_THREADS);
    return blocks == 0 ? 1 : blocks < (unsigned)most ? blocks : (unsigned)most;
}

static void feed(struct backend *self, struct backend_ring *ring, void *device, int64_t offset,
                 int64_t bytes)
{
    LAUNCH(cuda_of(self), feed_kernel, blocks_for(bytes, FEED_BLOCKS), CUDA_THREADS, 0,
           static_cast<char *>(device), ring_of(ring)->slots, offset, bytes);
}

static void publish(struct backend *self, struct backend_ring *published, int64_t offset,
                    const void *device, int64_t bytes)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_ring *ring = ring_of(published);
    cuda_fault_check(cuda, cudaEventRecord(ring->fork, cuda->stream), "cudaEventRecord");
    cuda_fault_check(cuda, cudaStreamWaitEvent(ring->side, ring->fork, 0), "cudaStreamWaitEvent");
    ring->forked = 1;
    CUDA_START(ring->side, publish_kernel, blocks_for(bytes, PUBLISH_BLOCKS), CUDA_THREADS, 0,
               ring->slots, offset, static_cast<const char *>(device), bytes);
    cuda_fault_launched(cuda, "publish_kernel");
    if (cuda->each)
        cuda_fault_check(cuda, cudaStreamSynchronize(ring->side), "publish_kernel");
}

/* A fault is sticky: every call returns it, even the wait for a program that had finished before.
 * `reached` tells whether it had. */
static int ring_wait(struct backend *self, struct backend_ring *waited, int64_t index,
                     struct err *err)
{
    struct cuda *cuda = cuda_of(self);
    struct cuda_ring *ring = ring_of(waited);
    if (ring->broken >= 0 && index >= ring->broken)
        return cuda_fault_report(cuda, err);
    const cudaError_t status = cudaEventSynchronize(ring->done[index % waited->slots]);
    if (status == cudaSuccess)
        return 0;
    const int64_t reached = *ring->reached;
    char where[CUDA_NAME_MAX + 16];
    snprintf(where, sizeof where, "at or before %s",
             reached < waited->started ? ring->last[reached % waited->slots] : cuda->last);
    cuda_fault_check(cuda, status, where);
    if (reached > index)
        return 0;
    ring->broken = index;
    return cuda_fault_report(cuda, err);
}

void cuda_ring_fill(struct backend *table)
{
    table->slots = CUDA_SLOTS;
    table->ring_open = ring_open;
    table->ring_close = ring_close;
    table->program_begin = program_begin;
    table->program_end = program_end;
    table->feed = feed;
    table->publish = publish;
    table->ring_wait = ring_wait;
}
