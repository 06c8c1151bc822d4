/* nvml: what NVIDIA's management library knows about the cards: memory in use by
 * anybody, utilisation, temperature, the driver's version. The library and the
 * driver are loaded at run time, no header of theirs is needed, and no context is
 * made: looking takes no memory of a card.
 *
 * CUDA and the library number cards differently (CUDA_VISIBLE_DEVICES leaves some
 * out and reorders them, a slice of a card, MIG, is a device of its own), so a
 * card is found by the UUID that both know. Callers: inventory. One thread. */
#ifndef TOKENFATE_NVML_H
#define TOKENFATE_NVML_H

#include <stdint.h>

#include "config/err.h"

enum { NVML_DRIVER_MAX = 64, NVML_UNKNOWN = -1 };

struct nvml_reading {
    int64_t total_bytes, used_bytes; /* used: by every program, reserved memory included */
    int utilisation;                 /* percent of the last moments in which kernels ran */
    int temperature;                 /* degrees Celsius */
};

struct nvml;

/* ERR_UNAVAILABLE with the reason: no library, no driver, another version. */
int nvml_open(struct nvml **out, struct err *err);
void nvml_close(struct nvml *nvml);

/* "580.159.03"; "" if it is not told. */
const char *nvml_driver(const struct nvml *nvml);

/* How many devices CUDA shows this process. */
int nvml_devices(const struct nvml *nvml);

/* CUDA device `number`, as this process counts them. What the card does not tell
 * (a slice has no utilisation of its own) is NVML_UNKNOWN; a card whose memory
 * cannot be read is ERR_UNAVAILABLE with the reason. */
int nvml_read(struct nvml *nvml, int number, struct nvml_reading *out, struct err *err);

#endif
