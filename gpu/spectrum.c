/* spectrum: see spectrum.h. float32 is written as it lies in memory: every machine
 * that the engine runs on is little-endian. */
#include "gpu/spectrum.h"

#include <assert.h>
#include <stdio.h>

#include "config/file.h"

int spectrum_write(const char *dir, long long epoch, const float *logp, int n, struct err *err)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's bytes");
    struct file_atomic file;
    char name[64];
    snprintf(name, sizeof name, SPECTRUM_NAME, epoch);
    if (file_atomic_open(&file, dir, name, 0666, err) != 0)
        return -1;
    fwrite(logp, sizeof *logp, (size_t)n, file.out); /* file_atomic_commit reports errors */
    return file_atomic_commit(&file, err);
}
