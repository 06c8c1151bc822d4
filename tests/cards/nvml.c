/* nvml: libnvidia-ml.so.1 of the made-up machine (cards.h): as much of NVIDIA's
 * management interface as gpu/nvml.c asks for. Cards are found by UUID alone, and
 * a slice has no utilisation and no temperature of its own, as real ones. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/cards/cards.h"

enum { NOT_SUPPORTED = 3, NOT_FOUND = 6, UNINITIALISED = 1, INSUFFICIENT_SIZE = 7 };
enum { MIB = 1 << 20, TEXT_MAX = 64 };

struct memory {
    unsigned long long total, unused, used;
};

struct utilisation {
    unsigned kernels, memory;
};

struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned slice[2];
};

struct card {
    int number;
    int is_slice;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int status);
int nvmlSystemGetDriverVersion(char *text, unsigned size);
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out);
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *slice, void **out);
int nvmlDeviceGetMemoryInfo(void *device, struct memory *out);
int nvmlDeviceGetUtilizationRates(void *device, struct utilisation *out);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out);

static int is_started;
static struct card cards[CARDS_MAX], whole;

int nvmlInit_v2(void)
{
    is_started = 1;
    return 0;
}

int nvmlShutdown(void)
{
    is_started = 0;
    return 0;
}

const char *nvmlErrorString(int status)
{
    return status == NOT_FOUND       ? "Not Found"
           : status == NOT_SUPPORTED ? "Not Supported"
                                     : "Unknown Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    const char *told = getenv("CARDS_DRIVER"), *version = told ? told : "580.99.01";
    return (unsigned)snprintf(text, size, "%s", version) < size ? 0 : INSUFFICIENT_SIZE;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **out)
{
    if (!is_started)
        return UNINITIALISED;
    for (int n = 0; n < cards_number("CARDS", 2); n++) {
        const int is_slice = n >= cards_number("CARDS_SLICES", CARDS_MAX);
        char expected[TEXT_MAX];
        int used = snprintf(expected, sizeof expected, "%s-", is_slice ? "MIG" : "GPU");
        for (int i = 0; i < 16; i++)
            used += snprintf(expected + used, sizeof expected - (size_t)used,
                             i >= 4 && i <= 10 && i % 2 == 0 ? "-%02x" : "%02x", n + 1 + i);
        if (strcmp(uuid, expected) != 0)
            continue;
        cards[n] = (struct card){.number = n, .is_slice = is_slice};
        *out = &cards[n];
        return 0;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *slice, void **out)
{
    whole = *(struct card *)slice;
    whole.is_slice = 0;
    *out = &whole;
    return 0;
}

/* What the machine's state says of a card. */
static void look(const struct card *card, unsigned *used, unsigned *busy, unsigned *heat)
{
    const char *path = getenv("CARDS_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned state[3];
    *used = 1024 + 10 * (unsigned)card->number;
    *busy = 7 * (unsigned)card->number;
    *heat = 40 + (unsigned)card->number;
    for (int n = 0; file && fscanf(file, "%u %u %u", &state[0], &state[1], &state[2]) == 3; n++)
        if (n == card->number)
            *used = state[0], *busy = state[1], *heat = state[2];
    if (file)
        fclose(file);
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *out)
{
    unsigned used, busy, heat;
    look(device, &used, &busy, &heat);
    out->total = (unsigned long long)CARDS_MEMORY_MIB * MIB;
    out->used = (unsigned long long)used * MIB;
    out->unused = out->total - out->used;
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilisation *out)
{
    unsigned used, heat;
    if (((struct card *)device)->is_slice)
        return NOT_SUPPORTED;
    look(device, &used, &out->kernels, &heat);
    out->memory = 0;
    return 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out)
{
    unsigned used, busy;
    if (sensor != 0 || ((struct card *)device)->is_slice)
        return NOT_SUPPORTED;
    look(device, &used, &busy, out);
    return 0;
}

/* Another process, and this one where it is told. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *out)
{
    const unsigned long long own = (unsigned)cards_number("CARDS_OWN", 600), wanted = own ? 2 : 1;
    (void)device;
    if (*n < wanted)
        return INSUFFICIENT_SIZE;
    out[0] = (struct process){.pid = 1, .bytes = 3000ull * MIB};
    if (own)
        out[1] = (struct process){.pid = (unsigned)getpid(), .bytes = own * MIB};
    *n = (unsigned)wanted;
    return 0;
}
