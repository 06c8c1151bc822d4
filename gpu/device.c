/* device: see device.h. The driver is loaded before our shared object: without a driver there is no
 * device, and cuBLASLt, a dependency of the object, would map half a gigabyte for nothing. */
#include "gpu/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/settings.h"
#include "gpu/cpu/cpu.h"
#include "gpu/cublas.h"
#include "gpu/cuda/cuda.h"

#define DRIVER "libcuda.so.1"

int device_cuda_number(const char *device)
{
    if (strcmp(device, "cuda") == 0)
        return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9')
        return -1;
    char *end;
    const long number = strtol(device + 5, &end, 10);
    return *end == '\0' && number <= INT_MAX ? (int)number : -1;
}

/* dlerror returns its sentence once. */
static int not_loaded(struct err *err, const char *what)
{
    const char *why = dlerror();
    return err_set(err, ERR_UNAVAILABLE, "%s: %s", what, why ? why : "no reason given");
}

/* The cheap checks come first: file, driver. */
static int load(const struct cuda_library **out, struct err *err)
{
    char path[PATH_MAX];
    if (settings_beside(CUDA_LIBRARY, path, sizeof path, err) != 0)
        return -1;
    if (access(path, F_OK) != 0)
        return err_set(err, ERR_UNAVAILABLE, "this build has no CUDA backend: no %s", CUDA_LIBRARY);
    cublas_clean_environment();
    if (!dlopen(DRIVER, RTLD_NOW | RTLD_LOCAL))
        return not_loaded(err, "no NVIDIA driver");
    if (cublas_load(path, err) != 0)
        return -1;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return not_loaded(err, "the CUDA backend cannot be loaded");
    *out = dlsym(object, CUDA_LIBRARY_SYMBOL);
    return *out ? 0 : not_loaded(err, "the CUDA backend cannot be used");
}

/* The backend's table, loaded once; after a failure the next call tries again. */
static const struct cuda_library *cuda_library(const char *build, struct err *err)
{
    static const struct cuda_library *library;
    if (!library && load(&library, err) != 0)
        return NULL;
    if (strcmp(library->build, build) == 0)
        return library;
    err_set(err, ERR_UNAVAILABLE, "%s is of build %s, the trainer of %s", CUDA_LIBRARY,
            library->build, build);
    return NULL;
}

int device_cuda_query(int number, const char *build, char *name, int64_t *bytes, struct err *err)
{
    const struct cuda_library *library = cuda_library(build, err);
    return library ? library->query(number, name, bytes, err) : -1;
}

static int open_cuda(int number, enum spec_precision precision, const char *build,
                     struct backend **out, struct err *err)
{
    struct backend *backend;
    const struct cuda_library *library = cuda_library(build, err);
    if (!library || library->open(number, precision, &backend, err) != 0)
        return -1;
    if (backend_check(backend, err) != 0) {
        backend->close(backend);
        return -1;
    }
    *out = backend;
    return 0;
}

enum spec_precision device_precision(const char *device, enum spec_precision asked)
{
    if (device_cuda_number(device) < 0)
        return cpu_precision(asked);
    return asked == PRECISION_AUTO ? PRECISION_BF16 : asked;
}

int device_open(const char *device, int threads, enum spec_precision precision, const char *build,
                struct backend **out, struct err *err)
{
    if (strcmp(device, "cpu") == 0)
        return cpu_backend_open(threads, precision, out, err);
    const int number = device_cuda_number(device);
    if (number < 0)
        return err_set(err, ERR_UNAVAILABLE, "device %s: not cpu, cuda or cuda:N", device);
    if (open_cuda(number, device_precision(device, precision), build, out, err) != 0)
        return err_prefix(err, "device %s", device);
    return 0;
}
