/* ops: checks that every backend must pass, written once: each operation of gpu/backend.h at awkward
 * sizes against the reference backend (equal inputs, outputs poisoned with NaN beforehand, relative
 * L2 error of every output), and what operations promise beside their numbers. Callers: the
 * qualification of a device (gpu/qualify.h) and the tests. One thread per backend; each function
 * needs memory for the arrays of one case.
 *
 * ERR_INTERNAL names an operation whose numbers are wrong, ERR_NONDETERMINISTIC one whose bits do not
 * repeat; ERR_DEVICE, ERR_NO_MEMORY. */
#ifndef TOKENFATE_OPS_H
#define TOKENFATE_OPS_H

#include "config/err.h"
#include "gpu/backend.h"

/* The error that came nearest to its bound: of an output array of a case, numbered as in the
 * sources. It is written on failure too. */
struct ops_worst {
    const char *operation; /* NULL: none yet */
    int case_number, array;
    double error, bound; /* relative L2 error */
};
#define OPS_WORST_INIT                                                                             \
    (struct ops_worst)                                                                             \
    {                                                                                              \
        .bound = 1                                                                                 \
    }

/* Run every case `runs` times on each of the backends (NULL behind the last), which have one
 * precision: the reference is computed once a case. The first run must agree with the reference,
 * the others with the first, bit by bit. `before` (or NULL) is called before each run. */
int ops_check_cases(struct backend *const backends[], int runs, void (*before)(int run),
                    struct ops_worst *worst, struct err *err);

/* Threads that compute what the reference expects of the cases to come, in their order; NULL
 * without memory or threads: the checks then compute it themselves. */
struct ops_ahead;
struct ops_ahead *ops_ahead_open(enum spec_precision precision, int threads);
void ops_ahead_close(struct ops_ahead *ahead); /* NULL is fine */

/* Names of the operations that have cases, NULL behind the last; and the cases of one operation:
 * returns their number, or -1. ERR_NOT_FOUND. With `ahead` (or NULL), every operation must be
 * checked, in this order. */
const char *ops_name(int i);
int ops_check_operation(struct backend *backend, const char *name, int runs,
                        struct ops_ahead *ahead, struct ops_worst *worst, struct err *err);

/* Requesting statistics changes no bit of any other output. */
int ops_check_lm_head_without_statistics(struct backend *backend, struct err *err);

/* Without gradients, `lm_head` and `tracked` give the same losses, logits and means, to the last
 * bit, and do not touch the gradients' arrays. */
int ops_check_forward_alone(struct backend *backend, struct err *err);

/* The parts that `tracked` computes from the results of `lm_head` add up to the rows of the
 * gradient of `lm_head`. */
int ops_check_parts_add_up(struct backend *backend, struct err *err);

/* Non-finite logits give a non-finite loss. */
int ops_check_divergence_shows(struct backend *backend, struct err *err);

/* float32 passes to the device and back unchanged; zero is zero. */
int ops_check_bits_survive_the_device(struct backend *backend, struct err *err);

/* Two programs alternate, with as many in flight as the ring has slots: each round gets its own
 * inputs and returns their results. */
int ops_check_programs(struct backend *backend, struct err *err);

/* Names of the six checks above, NULL behind the last; and one of them. */
const char *ops_promise(int i);
int ops_check_promise(struct backend *backend, int i, struct err *err);

/* Every gradient of the reference against central differences of its own forward operation. */
int ops_check_gradients_of_ref(struct err *err);

#endif
