/* identity: see identity.h. The library of products is found where the loader has put it: in the
 * list of this process's mapped files. */
#include "gpu/identity.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/hash.h"
#include "config/settings.h"
#include "gpu/cuda/cuda.h"

#define PRODUCTS "/libcublasLt.so"
#define PRODUCTS_VERSION "cublasLtGetVersion"

enum { LINE_MAX_BYTES = PATH_MAX + 128, VERSION_MAX = 32 };

/* SHA-256 of the shared object. It is read once: the file of a process does not change. */
static const char *object_hash(void)
{
    static char hex[HASH_HEX];
    char path[PATH_MAX];
    if (!hex[0] && (settings_beside(CUDA_LIBRARY, path, sizeof path, NULL) != 0 ||
                    hash_sha256_file(path, hex, NULL) != 0))
        return "?";
    return hex;
}

/* Path of the loaded library of products; 0 if there is none. */
static int find_products(char path[LINE_MAX_BYTES])
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int found = 0;
    while (maps && !found && fgets(path, LINE_MAX_BYTES, maps)) {
        char *name = strchr(path, '/');
        found = name && strstr(name, PRODUCTS) != NULL;
        if (found) {
            name[strcspn(name, "\n")] = '\0';
            memmove(path, name, strlen(name) + 1);
        }
    }
    if (maps)
        fclose(maps);
    return found;
}

static void products_version(const char *path, char version[VERSION_MAX])
{
    size_t (*tell)(void) = NULL;
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    void *function = library ? dlsym(library, PRODUCTS_VERSION) : NULL;
    memcpy(&tell, &function, sizeof tell);
    snprintf(version, VERSION_MAX, "?");
    if (tell)
        snprintf(version, VERSION_MAX, "%zu", tell());
    if (library)
        dlclose(library);
}

void identity(int number, const char *build, const char *name, int64_t bytes, struct nvml *nvml,
              char out[IDENTITY_MAX])
{
    char path[LINE_MAX_BYTES] = "?", version[VERSION_MAX] = "?";
    struct nvml_card card = {.uuid = "?"};
    struct err why = ERR_INIT;
    if (nvml && nvml_card(nvml, number, &card, &why) != 0)
        card = (struct nvml_card){.uuid = "?"};
    if (find_products(path))
        products_version(path, version);
    else
        snprintf(path, sizeof path, "?");
    snprintf(out, IDENTITY_MAX,
             "build %s, object %s, %s, %s, %lld bytes, %d multiprocessors, driver %s, "
             "cuBLASLt %s in %.400s",
             build, object_hash(), card.uuid, name, (long long)bytes, card.multiprocessors,
             nvml ? nvml_driver(nvml) : "?", version, path);
}
