/* cpu_memory: memory of the cpu backend: the entries `available`, `alloc`, `free` and `zero` of
 * its table, and the scratch memory of the loops. The thread that drives the backend calls all
 * of it, outside parallel regions. */
#ifndef TOKENFATE_CPU_MEMORY_H
#define TOKENFATE_CPU_MEMORY_H

#include "gpu/cpu/cpu_internal.h"

/* As gpu/backend.h says of the entries of the same names. */
int64_t cpu_memory_available(struct backend *self);
void *cpu_memory_alloc(struct backend *self, int64_t bytes, struct err *err);
void cpu_memory_free(struct backend *self, void *memory);
void cpu_memory_zero(struct backend *self, void *memory, int64_t bytes);

/* Scratch of at least `floats` for each thread; thread i's part starts at i * floats. Contents
 * are undefined, and a later call may move it. It grows in the first step of a larger model,
 * never in a later step. NULL without memory: the fault is kept in cpu->fault. */
float *cpu_memory_scratch(struct cpu *cpu, int64_t floats);

#endif
