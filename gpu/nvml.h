/* nvml: readings from NVIDIA's management library: memory in use by all programs, utilisation,
 * temperature, driver version. Library and driver are loaded at run time, so none of their headers
 * is needed. No context is created, so a reading takes no memory of a card.
 *
 * CUDA and the library number cards differently: CUDA_VISIBLE_DEVICES hides and reorders cards, and
 * a slice of a card (MIG) is a device of its own. So a card is found by its UUID, which both know.
 * Callers: runner, watch. One thread. */
#ifndef TOKENFATE_NVML_H
#define TOKENFATE_NVML_H

#include <stdint.h>

#include "config/err.h"

enum { NVML_DRIVER_MAX = 64, NVML_UNKNOWN = -1 };

struct nvml_reading {
    int64_t total_bytes, used_bytes; /* used: by every program, reserved memory included */
    int utilisation;                 /* percent of the last sampling period in which kernels ran */
    int temperature;                 /* degrees Celsius */
};

struct nvml;

/* ERR_UNAVAILABLE with the reason: no library, no driver, another version. */
int nvml_open(struct nvml **out, struct err *err);
void nvml_close(struct nvml *nvml);

/* "580.159.03"; "" if unknown. */
const char *nvml_driver(const struct nvml *nvml);

/* Number of devices that CUDA shows to this process. */
int nvml_devices(const struct nvml *nvml);

enum { NVML_UUID_MAX = 48 };
struct nvml_card {
    char uuid[NVML_UUID_MAX]; /* "GPU-...", of a slice "MIG-..." */
    int multiprocessors;      /* of the card or slice; 0: unknown */
};

/* What CUDA device `number` is. ERR_UNAVAILABLE. */
int nvml_card(struct nvml *nvml, int number, struct nvml_card *out, struct err *err);

/* Reading of CUDA device `number`, as this process counts them. A value that the card does not
 * report (a slice has no utilisation of its own) is NVML_UNKNOWN; ERR_UNAVAILABLE with the reason
 * if its memory cannot be read. */
int nvml_read(struct nvml *nvml, int number, struct nvml_reading *out, struct err *err);

/* Bytes of CUDA device `number` that this process has, its context included; NVML_UNKNOWN where that
 * is not told: an old driver, or a container, where processes have other numbers. */
int64_t nvml_own_bytes(struct nvml *nvml, int number);

#endif
