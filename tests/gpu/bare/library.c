/* library: see library.h. */
#include "tests/gpu/bare/library.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cublas.h"

const struct cuda_library *bare_library(struct err *err)
{
    char path[PATH_MAX] = CUDA_LIBRARY;
    const char *named = getenv("TOKENFATE_CUDA_LIBRARY");
    if (named) {
        snprintf(path, sizeof path, "%s", named);
    } else if (readlink("/proc/self/exe", path, sizeof path - sizeof CUDA_LIBRARY) > 0) {
        char *slash = strrchr(path, '/');
        strcpy(slash ? slash + 1 : path, CUDA_LIBRARY);
    }
    cublas_clean_environment();
    if (cublas_load(path, err) != 0)
        return NULL;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct cuda_library *library = object ? dlsym(object, CUDA_LIBRARY_SYMBOL) : NULL;
    if (library)
        return library;
    const char *why = dlerror();
    err_set(err, ERR_UNAVAILABLE, "%s", why ? why : path);
    return NULL;
}

enum spec_precision bare_precision(const char *word)
{
    return strcmp(word, "fp32") == 0   ? PRECISION_FP32
           : strcmp(word, "bf16") == 0 ? PRECISION_BF16
                                       : PRECISION_AUTO;
}
