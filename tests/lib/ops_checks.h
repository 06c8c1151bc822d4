/* ops_checks: what every backend must pass, written once: each operation of
 * gpu/backend.h at awkward sizes against the reference backend (same inputs,
 * outputs poisoned with NaN beforehand, relative L2 error of every output). The
 * programs tests/unit/gpu_ops.c and cuda_ops.c say which backend. A failed check
 * fails the cmocka test that called it. */
#ifndef TOKENFATE_OPS_CHECKS_H
#define TOKENFATE_OPS_CHECKS_H

#include "config/err.h"
#include "gpu/backend.h"

struct ops_subject {
    int (*open)(struct backend **out, struct err *err);
    double allowed; /* relative L2 error of an output */
};

/* Every case `runs` times: the first must agree with the reference, the others
 * with the first, bit by bit. `before` (or NULL) is called before each run. */
void ops_check_cases(const struct ops_subject *subject, int runs, void (*before)(int run));

/* Names of the operations that have cases, NULL behind the last; and the cases of
 * one of them by itself, with the largest error: how many there are. */
const char *ops_name(int i);
int ops_check_operation(const struct ops_subject *subject, const char *name, int runs,
                        double *worst);

/* Whether statistics are wanted changes no other output, to the last bit. */
void ops_check_head_without_statistics(const struct ops_subject *subject);

/* Without a gradient asked for, `head` and `tracked` give the same losses, logits and
 * means, to the last bit, and leave alone what would hold it. */
void ops_check_forward_alone(const struct ops_subject *subject);

/* The parts that `tracked` makes of what `head` left add up to the rows of the
 * gradient that `head` made. */
void ops_check_parts_add_up(const struct ops_subject *subject);

/* Where logits are not finite the loss must not be finite either. */
void ops_check_divergence_shows(const struct ops_subject *subject);

/* float32 goes to the device and back unchanged; zero is zero. */
void ops_check_bits_survive_the_device(const struct ops_subject *subject);

/* Two programs in turn, as many under way as the ring has slots: each round gets
 * its own numbers and gives back what was made of them. */
void ops_check_programs(const struct ops_subject *subject);

/* Every gradient of the reference against central differences of its own
 * forward operation. */
void ops_check_gradients_of_ref(void);

#endif
