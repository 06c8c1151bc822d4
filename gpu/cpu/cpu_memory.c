/* cpu_memory: see cpu_memory.h. */
#include "gpu/cpu/cpu_memory.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ALIGNMENT = 256,     /* bytes: gpu/backend.h's promise for alloc */
    HUGE_PAGE = 2 << 20, /* bytes */
    PAGE = 4096          /* bytes: unit of scratch and of the slices that are zeroed */
};

/* MemAvailable of /proc/meminfo: what programs can still take without swapping (proc(5)). */
int64_t cpu_memory_available(struct backend *self)
{
    (void)self;
    long long kilobytes = -1;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file)
        return INT64_MAX;
    while (kilobytes < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lld kB", &kilobytes) != 1)
            kilobytes = -1;
    fclose(file);
    return kilobytes < 0 ? INT64_MAX : kilobytes * 1024;
}

/* Linux overcommits memory: an allocation beyond what is available succeeds, and the process is
 * killed when it writes to it. So MemAvailable is checked first. */
void *cpu_memory_alloc(struct backend *self, int64_t bytes, struct err *err)
{
    const int64_t there = cpu_memory_available(self);
    const int64_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    void *memory = NULL;
    if (bytes <= there)
        memory = aligned_alloc((size_t)unit, (size_t)((bytes + unit - 1) / unit * unit));
    if (!memory) {
        err_set(err, ERR_NO_MEMORY, "%lld bytes wanted, %lld there", (long long)bytes,
                (long long)there);
        return NULL;
    }
    /* Advice only: huge pages change the speed, not the results. */
    if (unit == HUGE_PAGE)
        (void)madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
    return memory;
}

void cpu_memory_free(struct backend *self, void *memory)
{
    (void)self;
    free(memory);
}

void cpu_memory_zero(struct backend *self, void *memory, int64_t bytes)
{
    const struct cpu *cpu = cpu_of(self);
    const int team = cpu_team(cpu, bytes / (int64_t)sizeof(float));
#pragma omp parallel num_threads(team)
    {
        const struct cpu_slice s = cpu_slice(bytes, PAGE, omp_get_thread_num(), team);
        memset((char *)memory + s.begin, 0, (size_t)(s.end - s.begin));
    }
}

float *cpu_memory_scratch(struct cpu *cpu, int64_t floats)
{
    if (floats <= cpu->scratch_floats)
        return cpu->scratch;
    const size_t bytes = (size_t)floats * sizeof(float) * (size_t)cpu->threads;
    float *scratch = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    if (!scratch) {
        if (cpu->fault.code == ERR_NONE)
            err_set(&cpu->fault, ERR_NO_MEMORY, "%zu bytes of scratch wanted", bytes);
        return NULL;
    }
    free(cpu->scratch);
    cpu->scratch = scratch;
    cpu->scratch_floats = floats;
    return scratch;
}
