/* ops_checks: checks that every backend must pass, written once: each operation of gpu/backend.h at
 * awkward sizes against the reference backend (equal inputs, outputs poisoned with NaN beforehand,
 * relative L2 error of every output). The programs tests/unit/gpu_ops.c and cuda_ops.c choose the
 * backend. A failed check fails the cmocka test that called it. */
#ifndef TOKENFATE_OPS_CHECKS_H
#define TOKENFATE_OPS_CHECKS_H

#include "config/err.h"
#include "gpu/backend.h"

struct ops_subject {
    int (*open)(struct backend **out, struct err *err);
    double allowed; /* relative L2 error of an output */
};

/* Run every case `runs` times on each of the subjects (NULL behind the last). All have one
 * precision, so the reference is computed once a case. The first run must agree with the
 * reference, the others with the first, bit by bit. `before` (or NULL) is called before each
 * run. */
void ops_check_cases(const struct ops_subject *const subjects[], int runs, void (*before)(int run));

/* Names of the operations that have cases, NULL behind the last; and the cases of one operation,
 * with the largest error: returns their number. */
const char *ops_name(int i);
int ops_check_operation(const struct ops_subject *subject, const char *name, int runs,
                        double *worst);

/* Requesting statistics changes no bit of any other output. */
void ops_check_lm_head_without_statistics(const struct ops_subject *subject);

/* Without gradients, `lm_head` and `tracked` give the same losses, logits and means, to the last
 * bit, and do not touch the gradients' arrays. */
void ops_check_forward_alone(const struct ops_subject *subject);

/* The parts that `tracked` computes from the results of `lm_head` add up to the rows of the
 * gradient of `lm_head`. */
void ops_check_parts_add_up(const struct ops_subject *subject);

/* Non-finite logits give a non-finite loss. */
void ops_check_divergence_shows(const struct ops_subject *subject);

/* float32 passes to the device and back unchanged; zero is zero. */
void ops_check_bits_survive_the_device(const struct ops_subject *subject);

/* Two programs alternate, with as many in flight as the ring has slots: each round gets its own
 * inputs and returns their results. */
void ops_check_programs(const struct ops_subject *subject);

/* Every gradient of the reference against central differences of its own forward operation. */
void ops_check_gradients_of_ref(void);

#endif
