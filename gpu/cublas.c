/* cublas: see cublas.h. A loaded library satisfies every later object that names its soname, so the
 * object itself needs no path to it. */
#include "gpu/cublas.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/log.h"

#define SETTING "TOKENFATE_CUBLASLT"
#define STEM "libcublasLt.so."

enum { SONAME_MAX = 32, ENTRY_MAX = 256 };

extern char **environ;

/* Beginnings of names. The file of heuristics replaces the library's own choice; the others let it
 * compute float32 from TF32, bfloat16 or integers. */
static const char *const changing[] = {
    "CUBLASLT_HEURISTICS_LUT_FILE", "CUBLAS_EMULATE_",    "CUBLAS_EMULATION_",
    "CUBLAS_FP32_EMULATED_",        "CUBLAS_FIXEDPOINT_", "NVIDIA_TF32_OVERRIDE"};

static int changes_bits(const char *entry)
{
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        if (strncmp(entry, changing[i], strlen(changing[i])) == 0)
            return 1;
    return 0;
}

void cublas_clean_environment(void)
{
    for (char **entry = environ; entry && *entry;) {
        char name[ENTRY_MAX];
        const size_t length = strcspn(*entry, "=");
        if (!changes_bits(*entry) || length >= sizeof name) {
            entry++;
            continue;
        }
        log_line(LOG_WARNING, "%s is ignored: it would change the bits of matrix products", *entry);
        memcpy(name, *entry, length);
        name[length] = '\0';
        unsetenv(name); /* the next entry moves to this place */
    }
}

/* ---- the library ---- */

/* Soname in an object's table of names, "" without one. */
static void find_soname(const char *bytes, size_t n, char out[SONAME_MAX])
{
    const char *at = memmem(bytes, n, STEM, sizeof STEM - 1);
    size_t length = sizeof STEM - 1;
    const size_t left = at ? n - (size_t)(at - bytes) : 0;
    out[0] = '\0';
    while (at && length < left && length < SONAME_MAX - 1 && at[length] >= '0' && at[length] <= '9')
        length++;
    if (at)
        snprintf(out, SONAME_MAX, "%.*s", (int)length, at);
}

static int read_soname(const char *object, char out[SONAME_MAX], struct err *err)
{
    struct stat status;
    void *bytes = MAP_FAILED;
    const int fd = open(object, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0)
        bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int failed =
        bytes == MAP_FAILED ? err_set_errno(err, ERR_UNAVAILABLE, "cannot read %s", object) : 0;
    if (fd >= 0)
        close(fd);
    if (failed)
        return -1;
    find_soname(bytes, (size_t)status.st_size, out);
    munmap(bytes, (size_t)status.st_size);
    return 0;
}

static int load(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL) != NULL;
}

static int not_loaded(struct err *err, const char *what)
{
    const char *why = dlerror();
    return err_set(err, ERR_UNAVAILABLE, "%s: %s", what, why ? why : "no reason given");
}

/* The folder or file that the setting names. */
static int load_named(const char *named, const char *soname, struct err *err)
{
    char path[PATH_MAX];
    struct stat status;
    const int is_folder = stat(named, &status) == 0 && S_ISDIR(status.st_mode);
    const int size = is_folder ? snprintf(path, sizeof path, "%s/%s", named, soname)
                               : snprintf(path, sizeof path, "%s", named);
    if (size >= (int)sizeof path)
        return err_set(err, ERR_UNAVAILABLE, "cublaslt: the path is above %d bytes", PATH_MAX - 1);
    return load(path) ? 0 : not_loaded(err, "cublaslt");
}

/* A place: a folder below what a variable names (NULL: below nothing), with wildcards. The toolkit
 * of the system comes first, pip's packages for one user last. */
static const struct place {
    const char *variable, *folder;
} places[] = {
    {"CUDA_HOME", "/lib64"},
    {"CUDA_PATH", "/lib64"},
    {NULL, "/usr/local/cuda*/lib64"},
    {NULL, "/usr/local/cuda*/targets/*/lib"},
    {NULL, "/opt/cuda*/lib64"},
    {NULL, "/opt/cuda*/targets/*/lib"},
    {"VIRTUAL_ENV", "/lib/python3*/site-packages/nvidia/*/lib"},
    {"CONDA_PREFIX", "/lib"},
    {"CONDA_PREFIX", "/lib/python3*/site-packages/nvidia/*/lib"},
    {NULL, "/usr/local/lib/python3*/*-packages/nvidia/*/lib"},
    {NULL, "/usr/lib/python3*/*-packages/nvidia/*/lib"},
    {"HOME", "/.local/lib/python3*/site-packages/nvidia/*/lib"},
};

/* The first file of a place that can be loaded. */
static int load_from(const struct place *place, const char *soname)
{
    char pattern[PATH_MAX];
    const char *base = place->variable ? getenv(place->variable) : "";
    glob_t found = {0};
    int loaded = 0;
    if (!base || (place->variable && !base[0]) ||
        snprintf(pattern, sizeof pattern, "%s%s/%s", base, place->folder, soname) >=
            (int)sizeof pattern)
        return 0;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && !loaded; i++)
            loaded = load(found.gl_pathv[i]);
    globfree(&found);
    return loaded;
}

int cublas_load(const char *backend, struct err *err)
{
    char soname[SONAME_MAX];
    const char *named = getenv(SETTING);
    if (read_soname(backend, soname, err) != 0)
        return -1;
    if (!soname[0])
        return 0;
    if (named && named[0])
        return load_named(named, soname, err);
    int loaded = load(soname);
    for (size_t i = 0; i < sizeof places / sizeof *places && !loaded; i++)
        loaded = load_from(&places[i], soname);
    if (loaded)
        return 0;
    return err_set(
        err, ERR_UNAVAILABLE,
        "%s is not where the linker looks, nor in a folder of CUDA's toolkit or of pip's "
        "packages; the setting cublaslt names its folder",
        soname);
}
