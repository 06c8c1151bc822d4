/* cores: the processor cores on which jobs compute: a pool from which every job gets as many as it
 * has threads. workers.c finds the pool, the scheduler's thread hands cores out.
 *
 * A pool of all cores that this process may run on is a set of places: jobs get disjoint ones, and
 * their trainers are bound to them. A pool of another size (the setting `threads`) is a number only:
 * other programs, a second server say, may have been given the same number, and whoever binds would
 * meet them on the first cores. Linux places the threads then. */
#ifndef TOKENFATE_CORES_H
#define TOKENFATE_CORES_H

#include <sched.h>
#include <stdint.h>

struct cores {
    int n;         /* of the pool */
    int is_bound;  /* `all` are places, n of them */
    cpu_set_t all; /* that this process may run on */
};

/* threads: the setting; 0: all cores. */
void cores_find(int64_t threads, struct cores *out);

/* n cores of the pool that are not taken, the lowest ones first; none if the pool is a number.
 * -1: fewer are left. */
int cores_take(const struct cores *cores, const cpu_set_t *taken, int n, cpu_set_t *out);

#endif
