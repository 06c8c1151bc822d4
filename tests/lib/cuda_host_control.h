/* cuda_host_control: what a test sets of the simulated machine (cuda_host.h): the
 * order in which threads run, the card, a fault. Plain C, so that C tests include it. */
#ifndef TOKENFATE_CUDA_HOST_CONTROL_H
#define TOKENFATE_CUDA_HOST_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cuda_host_order {
    CUDA_HOST_FORWARD,
    CUDA_HOST_BACKWARD,
    CUDA_HOST_SHUFFLE_1,
    CUDA_HOST_SHUFFLE_2,
    CUDA_HOST_ORDERS
};

extern enum cuda_host_order cuda_host_order;

/* How many of the orders a test of a whole backend runs: the two extremes, the first and
 * the last ready thread first, of which each alone shows a missing barrier
 * (tests/unit/cuda_host.cu); all of them where CUDA_HOST_DEEP=1 stands in the environment. */
int cuda_host_orders(void);

/* The card and its driver; a test may change any of it. */
struct cuda_host_machine {
    int devices, driver, runtime, major, minor;
    int no_code; /* the build has nothing for this architecture */
    size_t memory;
    int refuses; /* enum cuda_host_refusal */
};
/* What a driver refuses of captures. */
enum cuda_host_refusal {
    CUDA_HOST_TAKES_ALL,
    CUDA_HOST_NO_BEGIN,
    CUDA_HOST_NO_LAUNCH,
    CUDA_HOST_NO_PRODUCT,
    CUDA_HOST_NO_END,
    CUDA_HOST_NO_GRAPH,
    CUDA_HOST_REFUSALS
};
extern struct cuda_host_machine cuda_host_machine;

/* Kernels, threads and barriers (one a block) run so far, graphs launched; calls that create a
 * context on the first card where there is none; waits for an event that keep a core busy; different
 * kernels run, each of which a driver loads when it is first needed. */
struct cuda_host_counts {
    uint64_t kernels, threads, barriers, graphs, context_calls, spins, loaded;
};
extern struct cuda_host_counts cuda_host_counts;

/* The library of matrix products (tests/lib/cublasLt.h). Epilogues that share a bit
 * with `refused` find no algorithm, those that share one with `refused_late` find one
 * that no product may use; all do with CUDA_HOST_ANY_PRODUCT. */
enum cuda_host_product_bits {
    CUDA_HOST_EPILOGUES = 0x7ffffffe,
    CUDA_HOST_ANY_PRODUCT = 0x7fffffff
};
/* What its products do wrong: the last 8 of k are lost; 16 rows and columns at the end of the result
 * are 0; the bias, what the result is added to, gelu_new, its slope, or the storing of aux is
 * forgotten. */
enum cuda_host_wrong {
    CUDA_HOST_RIGHT,
    CUDA_HOST_NO_TAIL,
    CUDA_HOST_NO_TILE,
    CUDA_HOST_NO_BIAS,
    CUDA_HOST_NO_SUM,
    CUDA_HOST_NO_GELU,
    CUDA_HOST_NO_SLOPE,
    CUDA_HOST_NO_AUX,
    CUDA_HOST_WRONGS
};
/* A proposal of the library: number of the algorithm, and parts that it splits k into. */
struct cuda_host_proposal {
    int id, splits;
};
enum { CUDA_HOST_PROPOSALS = 8 };
struct cuda_host_products {
    uint64_t queries, products, fused; /* algorithms asked for; products queued, with epilogue */
    uint64_t turned_away;              /* products refused that had an algorithm */
    int64_t alive;                     /* handles and descriptors */
    uint32_t refused, refused_late;
    int no_handle, fail_next;
    /* What it proposes for every product, up to one with splits 0; none: one of its own. */
    struct cuda_host_proposal proposals[CUDA_HOST_PROPOSALS];
    int only_split; /* no algorithm does without splitting k */
    enum cuda_host_wrong wrong;
};
extern struct cuda_host_products cuda_host_products;

/* The kernel that runs after so many others fails with this number of a
 * cudaError_t. The error stays: from then on nothing runs and every call returns
 * it, until cuda_host_recover, which stands for a new process. */
void cuda_host_fail_after(uint64_t kernels, int code);
void cuda_host_fail_next(int code);
void cuda_host_recover(void);

/* A fault of the sources: barriers in files whose names contain this are none. NULL: no fault. */
extern const char *cuda_host_lost_barriers;

/* The device is faster than the host: everything that is queued runs now. */
void cuda_host_run(void);

/* Bytes of device memory that are allocated now, and all else that a program has
 * to give back: streams, events, graphs, pinned memory. */
size_t cuda_host_allocated(void);
int64_t cuda_host_objects(void);

#ifdef __cplusplus
}
#endif
#endif
