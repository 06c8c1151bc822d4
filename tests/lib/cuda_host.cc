/* cuda_host: see cuda_host.h. Two halves: the machine that runs one kernel
 * (fibers, barriers, meetings of a warp), and the runtime around it (streams,
 * graphs, memory, errors).
 *
 * A fiber is a stack that runs one thread of the block after another. A thread
 * that waits gives its fiber up to the next ready thread, on that one's fiber or,
 * if it has not begun, on a spare one; a thread that ends hands its own fiber on.
 * So a kernel without barriers runs as a plain loop on one stack. */
#include "tests/lib/cuda_host.h"
#include "tests/lib/cuda_host_control.h"

#include <deque>
#include <map>
#include <set>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#error "the switch between fibers is written for x86-64"
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

enum cuda_host_order cuda_host_order;

int cuda_host_orders(void)
{
    const char *deep = getenv("CUDA_HOST_DEEP");
    return deep && strcmp(deep, "1") == 0 ? CUDA_HOST_ORDERS : CUDA_HOST_BACKWARD + 1;
}
struct cuda_host_machine cuda_host_machine = {1, 13000, 13000, 9, 0, 0, (size_t)1 << 32, 0};
struct cuda_host_counts cuda_host_counts;

namespace
{

enum {
    THREADS_MAX = 1024,
    WARPS_MAX = THREADS_MAX / warpSize,
    WORDS = THREADS_MAX / 64,
    LANE_BYTES = 16,
    SHARED_DEFAULT = 48 << 10, /* bytes a block may have without asking */
    SHARED_HOPPER = 227 << 10, /* after asking: compute capability 9.0 */
    SHARED_BEFORE = 99 << 10,  /* 8.6 and 8.9 */
    NOWHERE = -1,
#ifdef __SANITIZE_ADDRESS__
    STACK_BYTES = 256 << 10
#else
    STACK_BYTES = 64 << 10
#endif
};

/* ---- fibers ---- */

struct fiber {
    void *stack_pointer; /* where it was left */
    void *fake_stack;    /* AddressSanitizer's */
    const void *bottom;
    size_t size;
};

struct fiber main_fiber, *current_fiber = &main_fiber, *previous_fiber;
struct fiber fibers[THREADS_MAX], *spare[THREADS_MAX];
unsigned n_fibers, n_spare;

extern "C" void cuda_host_switch(void **save, void *load);
asm(R"(
.text
.type cuda_host_switch, @function
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_host_switch, .-cuda_host_switch
)");

/* The first thing on a fiber that goes on: AddressSanitizer learns the stack. */
void fiber_arrived(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(current_fiber->fake_stack, &previous_fiber->bottom,
                                    &previous_fiber->size);
#endif
}

void fiber_go(struct fiber *to)
{
    previous_fiber = current_fiber;
    current_fiber = to;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&previous_fiber->fake_stack, to->bottom, to->size);
#endif
    cuda_host_switch(&previous_fiber->stack_pointer, to->stack_pointer);
    fiber_arrived();
}

[[noreturn]] void fiber_main(void);

struct fiber *fiber_new(void)
{
    const size_t page = 4096;
    char *memory = static_cast<char *>(mmap(NULL, STACK_BYTES + page, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
        perror("cuda_host: stack of a thread");
        abort();
    }
    struct fiber *made = &fibers[n_fibers++];
    made->bottom = memory + page;
    made->size = STACK_BYTES;
    /* Six saved registers, the address to go to, and one word that makes the
     * stack look as after a call. */
    void **top = reinterpret_cast<void **>(memory + page + STACK_BYTES) - 8;
    top[6] = reinterpret_cast<void *>(fiber_main);
    made->stack_pointer = top;
    return made;
}

struct fiber *fiber_spare(void)
{
    return n_spare ? spare[--n_spare] : fiber_new();
}

/* ---- the block that runs ---- */

enum state { FRESH, READY, AT_BARRIER, AT_MEETING, ENDED };
const char *const state_names[] = {"did not begin", "was ready", "waits at the barrier",
                                   "waits for its warp", "has returned"};

struct place {
    const char *file;
    int line;
};

struct thread {
    enum state state;
    struct fiber *fiber;
    struct place place;
};

/* Values of the last two meetings: a lane reads those of one while a faster lane
 * may already bring its own to the next, but not to the one after. */
struct warp {
    unsigned arrived;
    int parity;
    alignas(16) unsigned char values[2][warpSize][LANE_BYTES];
};

/* Copies of a thread that are on their way; `groups` holds where each group ends. */
struct copies {
    struct copy {
        void *to;
        const void *from; /* NULL: zeros */
    };
    std::vector<copy> left;
    std::vector<size_t> groups;
};

struct {
    const struct cuda_host_launch *launch;
    const std::function<void()> *body;
    unsigned n;            /* threads of a block */
    unsigned current;      /* the thread that runs */
    unsigned ended;        /* threads */
    uint64_t ready[WORDS]; /* by position in the order */
    unsigned thread_of[THREADS_MAX], position_of[THREADS_MAX];
    struct thread threads[THREADS_MAX];
    struct copies copies[THREADS_MAX];
    struct warp warps[WARPS_MAX];
    void *shared;
    uint64_t random;
} block;

[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "cuda_host: kernel %s, block (%u, %u, %u): ", block.launch->name, blockIdx.x,
            blockIdx.y, blockIdx.z);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

/* SplitMix64 (Steele, Lea & Flood 2014). */
uint64_t next_random(void)
{
    uint64_t z = block.random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void arrange(unsigned *order, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        order[i] = cuda_host_order == CUDA_HOST_BACKWARD ? n - 1 - i : i;
    if (cuda_host_order == CUDA_HOST_SHUFFLE_1 || cuda_host_order == CUDA_HOST_SHUFFLE_2)
        for (unsigned i = n; i > 1; i--) {
            const unsigned j = (unsigned)(next_random() % i), moved = order[i - 1];
            order[i - 1] = order[j];
            order[j] = moved;
        }
}

/* All threads are ready, in an order of their own between every two barriers. */
void make_all_ready(void)
{
    arrange(block.thread_of, block.n);
    for (unsigned i = 0; i < block.n; i++)
        block.position_of[block.thread_of[i]] = i;
    for (unsigned w = 0; w * 64 < block.n; w++)
        block.ready[w] =
            block.n - w * 64 >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << (block.n - w * 64)) - 1;
}

void set_ready(unsigned thread)
{
    block.threads[thread].state = READY;
    block.ready[block.position_of[thread] / 64] |= UINT64_C(1) << block.position_of[thread] % 64;
}

/* Nobody can go on, not all have ended: a barrier that all have reached opens;
 * anything else is a fault of the kernel. */
void open_barrier(void)
{
    const struct thread *first = NULL;
    for (unsigned t = 0; t < block.n && !first; t++)
        if (block.threads[t].state == AT_BARRIER)
            first = &block.threads[t];
    for (unsigned t = 0; t < block.n; t++) {
        const struct thread *other = &block.threads[t];
        if (!first && other->state == AT_MEETING)
            die("shuffle at %s:%d: thread %u waits for lanes of its warp that have returned",
                other->place.file, other->place.line, t);
        if (first && other->state != AT_BARRIER)
            die("barrier at %s:%d: thread %u %s (%s:%d)", first->place.file, first->place.line, t,
                state_names[other->state], other->place.file, other->place.line);
        if (first && (other->place.line != first->place.line ||
                      strcmp(other->place.file, first->place.file) != 0))
            die("barrier at %s:%d: thread %u is at the barrier of %s:%d", first->place.file,
                first->place.line, t, other->place.file, other->place.line);
    }
    for (unsigned t = 0; t < block.n; t++)
        block.threads[t].state = READY;
    cuda_host_counts.barriers++;
    make_all_ready();
}

/* The thread to go on, taken off the ready ones; NOWHERE when all have ended. */
int take_next(void)
{
    for (;;) {
        for (unsigned w = 0; w * 64 < block.n; w++)
            if (block.ready[w]) {
                const unsigned bit = (unsigned)__builtin_ctzll(block.ready[w]);
                block.ready[w] &= block.ready[w] - 1;
                block.current = block.thread_of[w * 64 + bit];
                threadIdx.x = block.current;
                return (int)block.current;
            }
        if (block.ended == block.n)
            return NOWHERE;
        open_barrier();
    }
}

/* The running thread stops here until somebody makes it ready. */
void wait_as(enum state state, const char *file, int line)
{
    struct thread *self = &block.threads[block.current];
    self->state = state;
    self->place = {file, line};
    self->fiber = current_fiber;
    struct thread *next = &block.threads[take_next()];
    if (next == self)
        return;
    if (!next->fiber)
        next->fiber = fiber_spare();
    fiber_go(next->fiber);
}

/* A meeting may be complete at once: then the last lane does not wait. */
void go_on_or_wait(const char *file, int line)
{
    struct warp *warp = &block.warps[block.current / warpSize];
    const unsigned first = block.current / warpSize * warpSize;
    warp->arrived |= 1u << block.current % warpSize;
    if (warp->arrived != 0xffffffffu) {
        wait_as(AT_MEETING, file, line);
        return;
    }
    warp->arrived = 0;
    warp->parity ^= 1;
    for (unsigned t = first; t < first + warpSize; t++)
        if (t != block.current)
            set_ready(t);
    /* The order, not who came last, says which lane goes on. */
    set_ready(block.current);
    wait_as(READY, file, line);
}

void fiber_main(void)
{
    fiber_arrived();
    for (;;) {
        (*block.body)();
        if (!block.copies[block.current].left.empty())
            die("thread %u has returned before its copies arrived", block.current);
        block.copies[block.current].groups.clear();
        block.threads[block.current].state = ENDED;
        block.ended++;
        const int next = take_next();
        if (next != NOWHERE && !block.threads[next].fiber) {
            block.threads[next].fiber = current_fiber;
            continue;
        }
        spare[n_spare++] = current_fiber;
        fiber_go(next == NOWHERE ? &main_fiber : block.threads[next].fiber);
    }
}

void run_block(void)
{
    for (unsigned t = 0; t < block.n; t++)
        block.threads[t] = {FRESH, NULL, {"its beginning", 0}};
    for (unsigned w = 0; w * warpSize < block.n; w++)
        block.warps[w].arrived = 0;
    block.ended = 0;
    memset(block.shared, 0xff, block.launch->shared);
    make_all_ready();
    struct thread *first = &block.threads[take_next()];
    first->fiber = fiber_spare();
    fiber_go(first->fiber);
}

void run_kernel(const struct cuda_host_launch &launch, const std::function<void()> &body)
{
    const unsigned blocks = launch.grid.x * launch.grid.y * launch.grid.z;
    std::vector<unsigned> order(blocks);
    block.launch = &launch;
    block.body = &body;
    block.n = launch.threads;
    block.random = (uint64_t)cuda_host_order << 32 | blocks;
    block.shared = malloc(launch.shared); /* exact: what lies past its end is not there */
    if (!block.shared && launch.shared)
        die("no memory for %zu bytes of shared memory", launch.shared);
    gridDim = launch.grid;
    blockDim = dim3(launch.threads);
    arrange(order.data(), blocks);
    for (unsigned i : order) {
        blockIdx = {i % gridDim.x, i / gridDim.x % gridDim.y, i / gridDim.x / gridDim.y};
        run_block();
    }
    free(block.shared);
    cuda_host_counts.kernels++;
    static std::set<const void *> loaded;
    loaded.insert(launch.kernel);
    cuda_host_counts.loaded = loaded.size();
    cuda_host_counts.threads += (uint64_t)blocks * launch.threads;
}

} // namespace

const char *cuda_host_lost_barriers;

void __syncthreads(const char *file, int line)
{
    if (cuda_host_lost_barriers && strstr(file, cuda_host_lost_barriers))
        return;
    wait_as(AT_BARRIER, file, line);
}

unsigned cuda_host_lane(void)
{
    return block.current % warpSize;
}

const void *cuda_host_meet(unsigned mask, const void *value, size_t size, unsigned source,
                           const char *file, int line)
{
    const unsigned thread = block.current, first = thread / warpSize * warpSize;
    struct warp *warp = &block.warps[thread / warpSize];
    if (mask != 0xffffffffu)
        die("%s:%d: a mask of less than the whole warp (%#x)", file, line, mask);
    if (warp->arrived) {
        const unsigned other = first + (unsigned)__builtin_ctz(warp->arrived);
        const struct place there = block.threads[other].place;
        if (there.line != line || strcmp(there.file, file) != 0)
            die("%s:%d: thread %u is here, thread %u of its warp at %s:%d", file, line, thread,
                other, there.file, there.line);
    }
    unsigned char(*const values)[LANE_BYTES] = warp->values[warp->parity];
    if (size)
        memcpy(values[thread - first], value, size);
    go_on_or_wait(file, line);
    return values[source];
}

/* ---- tensor cores ---- */

namespace
{

/* Half of a word, a bfloat16, as a number: the first is the lower one. */
float half_of(uint32_t word, int which)
{
    const uint32_t bits = which ? word & 0xffff0000u : word << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace

void cuda_host_multiply(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file,
                        int line)
{
    const int g = (int)cuda_host_lane() / 4, t = (int)cuda_host_lane() % 4;
    uint32_t left[4][4], right[2][4][2]; /* by lanes of the row; of the two columns */
    const char *all =
        static_cast<const char *>(cuda_host_meet(0xffffffffu, a, 4 * sizeof *a, 0, file, line));
    for (int lane = 0; lane < 4; lane++)
        memcpy(left[lane], all + (g * 4 + lane) * LANE_BYTES, sizeof left[lane]);
    all = static_cast<const char *>(cuda_host_meet(0xffffffffu, b, 2 * sizeof *b, 0, file, line));
    for (int lane = 0; lane < 8; lane++)
        memcpy(right[lane / 4][lane % 4], all + (t * 8 + lane) * LANE_BYTES, sizeof right[0][0]);
    for (int e = 0; e < 4; e++) {
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            const int lane = k % 8 / 2, word = k / 8;
            sum += half_of(left[lane][2 * word + e / 2], k % 2) *
                   half_of(right[e % 2][lane][word], k % 2);
        }
        c[e] += sum;
    }
}

/* A second meeting keeps everybody from writing what another lane has yet to read. */
void cuda_host_load_matrices(uint32_t out[4], const void *row, bool transposed, const char *file,
                             int line)
{
    const int g = (int)cuda_host_lane() / 4, t = (int)cuda_host_lane() % 4;
    cuda_host_aligned(row, 16, file, line);
    const char *rows =
        static_cast<const char *>(cuda_host_meet(0xffffffffu, &row, sizeof row, 0, file, line));
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t pair[2];
        for (int i = 0; i < 2; i++) {
            const int from = transposed ? 2 * t + i : g, column = transposed ? g : 2 * t + i;
            const uint16_t *numbers;
            memcpy(&numbers, rows + (matrix * 8 + from) * LANE_BYTES, sizeof numbers);
            memcpy(&pair[i], numbers + column, sizeof pair[i]);
        }
        out[matrix] = pair[0] | (uint32_t)pair[1] << 16;
    }
    cuda_host_meet(0xffffffffu, NULL, 0, 0, file, line);
}

namespace
{

void arrive(const struct copies::copy &copy)
{
    if (copy.from)
        memcpy(copy.to, copy.from, 16);
    else
        memset(copy.to, 0, 16);
}

} // namespace

/* In half of the orders a copy arrives at once, too, so that what it overwrites too
 * early shows as well as what is read too early. */
void copy_later(void *shared, const void *from, int there)
{
    struct copies *copies = &block.copies[block.current];
    cuda_host_aligned(shared, 16, __FILE__, __LINE__);
    cuda_host_aligned(from, 16, __FILE__, __LINE__);
    copies->left.push_back({shared, there ? from : NULL});
    if (cuda_host_order == CUDA_HOST_FORWARD || cuda_host_order == CUDA_HOST_SHUFFLE_1)
        arrive(copies->left.back());
}

void copies_close_group(void)
{
    struct copies *copies = &block.copies[block.current];
    copies->groups.push_back(copies->left.size());
}

void cuda_host_copies_wait(size_t but)
{
    struct copies *copies = &block.copies[block.current];
    if (copies->groups.size() <= but)
        return;
    const size_t done = copies->groups.size() - but, n = copies->groups[done - 1];
    for (size_t i = 0; i < n; i++)
        arrive(copies->left[i]);
    copies->left.erase(copies->left.begin(), copies->left.begin() + (ptrdiff_t)n);
    copies->groups.erase(copies->groups.begin(), copies->groups.begin() + (ptrdiff_t)done);
    for (size_t &end : copies->groups)
        end -= n;
}

void cuda_host_aligned(const void *address, size_t to, const char *file, int line)
{
    if (reinterpret_cast<uintptr_t>(address) % to != 0)
        die("%s:%d: thread %u: %p is no multiple of %zu", file, line, block.current, address, to);
}

void *cuda_host_shared(void)
{
    return block.shared;
}

/* ---- streams, graphs, errors ---- */

using work = std::function<void()>;

struct cuda_host_graph {
    std::vector<work> work_list;
    cuda_host_stream *origin; /* the stream whose capture began it */
    bool spoilt;
};

/* Work number `done` of all that was ever queued is the first that did not run. */
struct cuda_host_stream {
    std::deque<work> queue;
    uint64_t queued, done;
    cuda_host_graph *capture; /* that takes in what is queued; NULL: none */
    std::vector<work> forked; /* captured here, and no other stream has waited for it yet */
    uint64_t joined;          /* captured here, and waited for */
};

/* What a stream was given before: `position` pieces of work, of the capture if
 * there is one. */
struct cuda_host_event {
    cuda_host_stream *stream;
    cuda_host_graph *capture;
    uint64_t position;
    unsigned flags;
};

namespace
{

std::vector<cuda_host_stream *> streams;
std::map<const void *, size_t> allowed_shared;
std::map<void *, size_t> device_memory, pinned_memory;
int64_t objects;
cudaError_t last_error, sticky_error, planned_error;
uint64_t planned_after; /* kernels */

const struct {
    cudaError_t code;
    const char *name, *text;
} error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
};

/* What a call returns: the sticky error if there is one, else its own status. */
cudaError_t result(cudaError_t own = cudaSuccess)
{
    const cudaError_t status = sticky_error != cudaSuccess ? sticky_error : own;
    if (status != cudaSuccess)
        last_error = status;
    return status;
}

/* A piece of work may itself wait for another stream, and so come back here. */
void run_until(cuda_host_stream *stream, uint64_t position)
{
    while (stream->done < position) {
        const work next = std::move(stream->queue.front());
        stream->queue.pop_front();
        if (sticky_error == cudaSuccess)
            next();
        stream->done++;
    }
}

/* No call that waits or allocates may stand in a capture. */
bool spoil_captures(void)
{
    bool any = false;
    for (cuda_host_stream *stream : streams)
        if (stream->capture) {
            stream->capture->spoilt = true;
            any = true;
        }
    return any;
}

cudaError_t wait_for(cuda_host_stream *stream, uint64_t position)
{
    if (spoil_captures())
        return result(cudaErrorStreamCaptureUnsupported);
    run_until(stream, position);
    return result();
}

/* The work of a stream that another one has waited for goes into the graph. */
void join(cuda_host_stream *from, uint64_t position)
{
    std::vector<work> *const forked = &from->forked, *const list = &from->capture->work_list;
    const auto end = forked->begin() + (ptrdiff_t)(position - from->joined);
    list->insert(list->end(), forked->begin(), end);
    forked->erase(forked->begin(), end);
    from->joined = position;
}

bool is_capturing(const cuda_host_graph *graph)
{
    for (const cuda_host_stream *stream : streams)
        if (stream->capture == graph)
            return true;
    return false;
}

size_t shared_limit(void)
{
    return cuda_host_machine.major >= 9 ? SHARED_HOPPER : SHARED_BEFORE;
}

cudaError_t present(void)
{
    if (cuda_host_machine.driver < cuda_host_machine.runtime)
        return cudaErrorInsufficientDriver;
    return cuda_host_machine.devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t take_memory(std::map<void *, size_t> *kind, void **out, size_t bytes)
{
    void *memory = NULL;
    cuda_host_counts.context_calls++;
    if (spoil_captures())
        return result(cudaErrorStreamCaptureUnsupported);
    if (result() != cudaSuccess)
        return result();
    if (posix_memalign(&memory, 256, bytes ? bytes : 1) != 0)
        return result(cudaErrorMemoryAllocation);
    memset(memory, 0xff, bytes);
    (*kind)[memory] = bytes;
    *out = memory;
    return result();
}

cudaError_t give_memory(std::map<void *, size_t> *kind, void *memory)
{
    cuda_host_counts.context_calls++;
    if (!memory)
        return result(present());
    const cudaError_t status = cudaDeviceSynchronize();
    if (kind->erase(memory) == 0)
        return result(cudaErrorInvalidValue);
    free(memory);
    return status;
}

bool is_pinned(const void *address)
{
    auto after = pinned_memory.upper_bound(const_cast<void *>(address));
    if (after == pinned_memory.begin())
        return false;
    --after;
    return static_cast<const char *>(address) < static_cast<char *>(after->first) + after->second;
}

} // namespace

void cuda_host_fail_after(uint64_t kernels, int code)
{
    planned_after = kernels;
    planned_error = static_cast<cudaError_t>(code);
}

void cuda_host_fail_next(int code)
{
    cuda_host_fail_after(0, code);
}

void cuda_host_recover(void)
{
    last_error = sticky_error = planned_error = cudaSuccess;
}

void cuda_host_run(void)
{
    for (cuda_host_stream *stream : streams)
        run_until(stream, stream->queued);
}

size_t cuda_host_allocated(void)
{
    size_t bytes = 0;
    for (const auto &piece : device_memory)
        bytes += piece.second;
    return bytes;
}

int64_t cuda_host_objects(void)
{
    return objects + (int64_t)pinned_memory.size();
}

bool cuda_host_captures(void)
{
    for (const cuda_host_stream *stream : streams)
        if (stream->capture)
            return true;
    return false;
}

bool cuda_host_refuses(cudaStream_t stream, int what)
{
    if (!stream->capture || cuda_host_machine.refuses != what)
        return false;
    stream->capture->spoilt = true;
    return true;
}

void cuda_host_enqueue(cudaStream_t stream, work piece)
{
    if (!stream->capture) {
        stream->queue.push_back(std::move(piece));
        stream->queued++;
    } else {
        (stream == stream->capture->origin ? &stream->capture->work_list : &stream->forked)
            ->push_back(std::move(piece));
    }
}

void cuda_host_queue_kernel(cudaStream_t stream, const struct cuda_host_launch &launch,
                            std::function<void()> thread)
{
    const auto asked = allowed_shared.find(launch.kernel);
    const size_t most = asked == allowed_shared.end() ? size_t{SHARED_DEFAULT} : asked->second;
    if (launch.threads == 0 || launch.threads > THREADS_MAX || launch.threads % warpSize ||
        launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.z == 0 ||
        launch.grid.x > INT32_MAX || launch.grid.y > UINT16_MAX || launch.grid.z > UINT16_MAX)
        result(cudaErrorInvalidConfiguration);
    else if (launch.shared > most)
        result(cudaErrorInvalidValue);
    else if (cuda_host_refuses(stream, CUDA_HOST_NO_LAUNCH))
        result(cudaErrorStreamCaptureUnsupported);
    else
        cuda_host_enqueue(stream, [launch, thread] {
            if (planned_error != cudaSuccess && planned_after-- == 0) {
                sticky_error = planned_error;
                planned_error = cudaSuccess;
                return;
            }
            run_kernel(launch, thread);
        });
}

cudaError_t cuda_host_allow_shared(const void *kernel, size_t bytes)
{
    if (bytes > shared_limit())
        return result(cudaErrorInvalidValue);
    allowed_shared[kernel] = bytes;
    return result();
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *)
{
    out->maxThreadsPerBlock = THREADS_MAX;
    out->binaryVersion = cuda_host_machine.major * 10 + cuda_host_machine.minor;
    return result(cuda_host_machine.no_code ? cudaErrorNoKernelImageForDevice : cudaSuccess);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    if (result() != cudaSuccess)
        return result();
    *out = new cuda_host_stream{};
    streams.push_back(*out);
    objects++;
    return result();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    run_until(stream, stream->queued);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream)
            streams.erase(streams.begin() + (ptrdiff_t)i);
    delete stream;
    objects--;
    return result();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return wait_for(stream, stream->queued);
}

cudaError_t cudaDeviceSynchronize(void)
{
    cudaError_t status = result();
    for (size_t i = 0; i < streams.size() && status == cudaSuccess; i++)
        status = wait_for(streams[i], streams[i]->queued);
    return status;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    if (result() != cudaSuccess)
        return result();
    *out = new cuda_host_event{};
    (*out)->flags = flags;
    objects++;
    return result();
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    objects--;
    return result();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    *event = {stream, stream->capture,
              stream->capture ? stream->joined + stream->forked.size() : stream->queued,
              event->flags};
    return result();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->capture)
        return result(cudaErrorInvalidValue);
    if (!(event->flags & cudaEventBlockingSync))
        cuda_host_counts.spins++;
    return event->stream ? wait_for(event->stream, event->position) : result();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    cuda_host_stream *const from = event->stream;
    const uint64_t position = event->position;
    if (!from)
        return result();
    if ((stream->capture && stream->capture != event->capture) ||
        (event->capture && !is_capturing(event->capture)))
        return result(cudaErrorStreamCaptureUnsupported);
    if (!event->capture) {
        cuda_host_enqueue(stream, [from, position] { run_until(from, position); });
        return result();
    }
    stream->capture = event->capture;
    if (from != event->capture->origin && from != stream && position > from->joined)
        join(from, position);
    return result();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    if (stream->capture || cuda_host_machine.refuses == CUDA_HOST_NO_BEGIN)
        return result(cudaErrorStreamCaptureUnsupported);
    if (result() != cudaSuccess)
        return result();
    stream->capture = new cuda_host_graph{{}, stream, false};
    objects++;
    return result();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    cuda_host_graph *const graph = stream->capture;
    if (!graph || graph->origin != stream)
        return result(cudaErrorInvalidValue);
    (void)cuda_host_refuses(stream, CUDA_HOST_NO_END);
    cudaError_t status = graph->spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    for (cuda_host_stream *other : streams)
        if (other->capture == graph) {
            if (!other->forked.empty() && status == cudaSuccess)
                status = cudaErrorStreamCaptureUnjoined;
            other->forked.clear();
            other->joined = 0;
            other->capture = NULL;
        }
    *out = graph;
    if (status != cudaSuccess) {
        cudaGraphDestroy(graph);
        *out = NULL;
    }
    return result(status);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    if (cuda_host_machine.refuses == CUDA_HOST_NO_GRAPH)
        return result(cudaErrorMemoryAllocation);
    if (result() != cudaSuccess)
        return result();
    *out = new cuda_host_graph(*graph);
    objects++;
    return result();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    if (stream->capture) {
        stream->capture->spoilt = true;
        return result(cudaErrorStreamCaptureUnsupported);
    }
    for (const work &piece : graph->work_list)
        cuda_host_enqueue(stream, piece);
    cuda_host_counts.graphs++;
    return result();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    objects--;
    return result();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    objects--;
    return result();
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t status = last_error;
    last_error = sticky_error;
    return status;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t code)
{
    for (const auto &error : error_texts)
        if (error.code == code)
            return error.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t code)
{
    for (const auto &error : error_texts)
        if (error.code == code)
            return error.text;
    return "unrecognized error code";
}

/* ---- the device and its memory ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = cuda_host_machine.devices;
    return result(present());
}

cudaError_t cudaSetDevice(int device)
{
    if (present() != cudaSuccess)
        return result(present());
    return result(device < 0 || device >= cuda_host_machine.devices ? cudaErrorInvalidDevice
                                                                    : cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    if (cudaSetDevice(device) != cudaSuccess)
        return result(cudaErrorInvalidDevice);
    *out = {};
    snprintf(out->name, sizeof out->name, "processor as a GPU");
    out->totalGlobalMem = cuda_host_machine.memory;
    out->sharedMemPerBlockOptin = shared_limit();
    out->major = cuda_host_machine.major;
    out->minor = cuda_host_machine.minor;
    out->multiProcessorCount = 4;
    return result();
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = cuda_host_machine.driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = cuda_host_machine.runtime;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    const size_t allocated = cuda_host_allocated();
    *total = cuda_host_machine.memory;
    *available = allocated < *total ? *total - allocated : 0;
    return result(present());
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (bytes > cuda_host_machine.memory ||
        cuda_host_allocated() > cuda_host_machine.memory - bytes)
        return result(cudaErrorMemoryAllocation);
    return take_memory(&device_memory, out, bytes);
}

cudaError_t cudaFree(void *memory)
{
    return give_memory(&device_memory, memory);
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return take_memory(&pinned_memory, out, bytes);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    return take_memory(&pinned_memory, out, bytes);
}

/* One address space: the device sees pinned memory where the host does. */
cudaError_t cudaHostGetDevicePointer(void **out, void *memory, unsigned)
{
    if (!is_pinned(memory))
        return result(cudaErrorInvalidValue);
    *out = memory;
    return result();
}

cudaError_t cudaFreeHost(void *memory)
{
    return give_memory(&pinned_memory, memory);
}

/* A pinned source may not change before the copy has run. Of a pageable one the
 * driver usually takes its copy at once, which is not promised: here it does so in
 * half of the orders. A capture cannot hold a copy from pageable memory. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const bool pageable = kind == cudaMemcpyHostToDevice && !is_pinned(from);
    if (pageable && stream->capture) {
        stream->capture->spoilt = true;
        return result(cudaErrorStreamCaptureUnsupported);
    }
    if (pageable && cuda_host_order % 2 == 0) {
        const char *source = static_cast<const char *>(from);
        cuda_host_enqueue(stream, [to, staged = std::vector<char>(source, source + bytes)] {
            memcpy(to, staged.data(), staged.size());
        });
    } else {
        cuda_host_enqueue(stream, [to, from, bytes] { memcpy(to, from, bytes); });
    }
    return result();
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    const cudaError_t status = cudaDeviceSynchronize();
    if (status == cudaSuccess)
        memcpy(to, from, bytes);
    return status;
}

cudaError_t cudaMemsetAsync(void *memory, int byte, size_t bytes, cudaStream_t stream)
{
    cuda_host_enqueue(stream, [=] { memset(memory, byte, bytes); });
    return result();
}
