/* nvml: see nvml.h. Two tables of functions, one for each library, filled by name. Types are those
 * of NVIDIA's published interfaces, declared as plain integers and structs of the same layout. */
#include "gpu/nvml.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NVML_LIBRARY "libnvidia-ml.so.1"
#define DRIVER_LIBRARY "libcuda.so.1"

enum { UUID_BYTES = 16, CORE_SENSOR = 0, MULTIPROCESSORS = 16 /* a CUdevice_attribute */ };

struct memory {
    unsigned long long total, unused, used;
};

struct utilisation {
    unsigned kernels, memory;
};

struct process {
    unsigned pid;
    unsigned long long bytes; /* all ones: unknown */
    unsigned slice[2];
};

struct uuid {
    unsigned char byte[UUID_BYTES];
};

struct nvml {
    void *library, *driver_library;
    int is_started;
    char driver[NVML_DRIVER_MAX];
    /* of the management library; a card is an nvmlDevice_t, a pointer */
    int (*start)(void);
    int (*shutdown)(void);
    const char *(*error)(int status);
    int (*driver_version)(char *text, unsigned size);
    int (*by_uuid)(const char *uuid, void **out);
    int (*whole_card)(void *slice, void **out);
    int (*memory)(void *device, struct memory *out);
    int (*utilisation)(void *device, struct utilisation *out);
    int (*processes)(void *device, unsigned *n, struct process *out);
    int (*temperature)(void *device, int sensor, unsigned *out);
    /* of the driver */
    int (*cuda_start)(unsigned flags);
    int (*cuda_devices)(int *out);
    int (*cuda_device)(int *out, int number);
    int (*cuda_uuid)(struct uuid *out, int device);
    int (*cuda_attribute)(int *out, int attribute, int device);
};

#define AT(member) offsetof(struct nvml, member)
static const struct function {
    const char *name;
    size_t library, at;
    int can_lack; /* optional: without it the value is unknown */
} functions[] = {
    {"nvmlInit_v2", AT(library), AT(start), 0},
    {"nvmlShutdown", AT(library), AT(shutdown), 0},
    {"nvmlErrorString", AT(library), AT(error), 0},
    {"nvmlSystemGetDriverVersion", AT(library), AT(driver_version), 1},
    {"nvmlDeviceGetHandleByUUID", AT(library), AT(by_uuid), 0},
    {"nvmlDeviceGetDeviceHandleFromMigDeviceHandle", AT(library), AT(whole_card), 1},
    {"nvmlDeviceGetMemoryInfo", AT(library), AT(memory), 0},
    {"nvmlDeviceGetUtilizationRates", AT(library), AT(utilisation), 1},
    {"nvmlDeviceGetComputeRunningProcesses_v3", AT(library), AT(processes), 1},
    {"nvmlDeviceGetTemperature", AT(library), AT(temperature), 1},
    {"cuInit", AT(driver_library), AT(cuda_start), 0},
    {"cuDeviceGetCount", AT(driver_library), AT(cuda_devices), 0},
    {"cuDeviceGet", AT(driver_library), AT(cuda_device), 0},
    {"cuDeviceGetUuid_v2", AT(driver_library), AT(cuda_uuid), 0},
    {"cuDeviceGetAttribute", AT(driver_library), AT(cuda_attribute), 1},
};

static int load(const char *name, void **out, struct err *err)
{
    *out = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    const char *why = *out ? NULL : dlerror();
    return *out ? 0 : err_set(err, ERR_UNAVAILABLE, "%s", why ? why : name);
}

static int find_functions(struct nvml *nvml, struct err *err)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *library, *function;
        memcpy(&library, (char *)nvml + functions[i].library, sizeof library);
        function = dlsym(library, functions[i].name);
        if (!function && !functions[i].can_lack)
            return err_set(err, ERR_UNAVAILABLE, "%s has no %s",
                           functions[i].library == AT(library) ? NVML_LIBRARY : DRIVER_LIBRARY,
                           functions[i].name);
        memcpy((char *)nvml + functions[i].at, &function, sizeof function);
    }
    return 0;
}

static int start(struct nvml *nvml, struct err *err)
{
    int status = nvml->cuda_start(0);
    if (status != 0)
        return err_set(err, ERR_UNAVAILABLE, "cuInit: error %d", status);
    status = nvml->start();
    if (status != 0)
        return err_set(err, ERR_UNAVAILABLE, "nvmlInit: %s", nvml->error(status));
    nvml->is_started = 1;
    if (!nvml->driver_version || nvml->driver_version(nvml->driver, sizeof nvml->driver) != 0)
        nvml->driver[0] = '\0';
    return 0;
}

int nvml_open(struct nvml **out, struct err *err)
{
    struct nvml *nvml = calloc(1, sizeof *nvml);
    if (!nvml)
        return err_set(err, ERR_NO_MEMORY, "no memory to ask about the cards");
    if (load(DRIVER_LIBRARY, &nvml->driver_library, err) != 0 ||
        load(NVML_LIBRARY, &nvml->library, err) != 0 || find_functions(nvml, err) != 0 ||
        start(nvml, err) != 0) {
        nvml_close(nvml);
        return -1;
    }
    *out = nvml;
    return 0;
}

/* The driver's library stays loaded: the cuda backend uses it too, and unloading it is not safe. */
void nvml_close(struct nvml *nvml)
{
    if (!nvml)
        return;
    if (nvml->is_started)
        nvml->shutdown();
    if (nvml->library)
        dlclose(nvml->library);
    free(nvml);
}

const char *nvml_driver(const struct nvml *nvml)
{
    return nvml->driver;
}

int nvml_devices(const struct nvml *nvml)
{
    int n = 0;
    return nvml->cuda_devices(&n) == 0 ? n : 0;
}

static void print_uuid(const struct uuid *uuid, const char *kind, char text[NVML_UUID_MAX])
{
    int used = snprintf(text, NVML_UUID_MAX, "%s-", kind);
    for (int i = 0; i < UUID_BYTES; i++)
        used += snprintf(text + used, (size_t)(NVML_UUID_MAX - used), "%s%02x",
                         i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid->byte[i]);
}

/* Find the card or slice with CUDA's number `number`; *sensors: the card that it is part of. */
static int find_card(struct nvml *nvml, int number, void **out, void **sensors,
                     char text[NVML_UUID_MAX], struct err *err)
{
    struct uuid uuid;
    int device;
    if (nvml->cuda_device(&device, number) != 0 || nvml->cuda_uuid(&uuid, device) != 0)
        return err_set(err, ERR_UNAVAILABLE, "CUDA does not tell the UUID of device %d", number);
    print_uuid(&uuid, "GPU", text);
    if (nvml->by_uuid(text, out) == 0) {
        *sensors = *out;
        return 0;
    }
    print_uuid(&uuid, "MIG", text);
    const int status = nvml->by_uuid(text, out);
    if (status != 0)
        return err_set(err, ERR_UNAVAILABLE, "%s: %s", text, nvml->error(status));
    if (!nvml->whole_card || nvml->whole_card(*out, sensors) != 0)
        *sensors = *out;
    return 0;
}

int nvml_card(struct nvml *nvml, int number, struct nvml_card *out, struct err *err)
{
    void *device, *sensors;
    int cuda_device;
    if (find_card(nvml, number, &device, &sensors, out->uuid, err) != 0)
        return -1;
    if (!nvml->cuda_attribute || nvml->cuda_device(&cuda_device, number) != 0 ||
        nvml->cuda_attribute(&out->multiprocessors, MULTIPROCESSORS, cuda_device) != 0)
        out->multiprocessors = 0;
    return 0;
}

int nvml_read(struct nvml *nvml, int number, struct nvml_reading *out, struct err *err)
{
    void *device, *sensors;
    struct memory memory;
    struct utilisation utilisation;
    unsigned temperature;
    char uuid[NVML_UUID_MAX];
    if (find_card(nvml, number, &device, &sensors, uuid, err) != 0)
        return -1;
    const int status = nvml->memory(device, &memory);
    if (status != 0)
        return err_set(err, ERR_UNAVAILABLE, "memory of device %d: %s", number,
                       nvml->error(status));
    out->total_bytes = (int64_t)memory.total;
    out->used_bytes = (int64_t)(memory.total - memory.unused);
    out->utilisation = out->temperature = NVML_UNKNOWN;
    if (nvml->utilisation && nvml->utilisation(device, &utilisation) == 0)
        out->utilisation = (int)utilisation.kernels;
    if (nvml->temperature && nvml->temperature(sensors, CORE_SENSOR, &temperature) == 0)
        out->temperature = (int)temperature;
    return 0;
}

int64_t nvml_own_bytes(struct nvml *nvml, int number)
{
    enum { PROCESSES = 256 }; /* more share no card */
    void *device, *sensors;
    struct process processes[PROCESSES];
    unsigned n = PROCESSES;
    char uuid[NVML_UUID_MAX];
    struct err why = ERR_INIT;
    if (!nvml->processes || find_card(nvml, number, &device, &sensors, uuid, &why) != 0 ||
        nvml->processes(device, &n, processes) != 0)
        return NVML_UNKNOWN;
    for (unsigned i = 0; i < n && i < PROCESSES; i++)
        if (processes[i].pid == (unsigned)getpid() && processes[i].bytes <= INT64_MAX)
            return (int64_t)processes[i].bytes;
    return NVML_UNKNOWN;
}
