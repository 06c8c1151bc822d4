/* spectrum: see spectrum.h. float32 is written as it lies in memory: every machine
 * that the engine runs on is little-endian. */
#include "gpu/spectrum.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

int spectrum_write(const char *dir, long long epoch, const float *logp, int n, struct err *err)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's bytes");
    if (snprintf(path, sizeof path, "%s/" SPECTRUM_NAME, dir, epoch) >= (int)sizeof path ||
        snprintf(temporary, sizeof temporary, "%s/" SPECTRUM_NAME ".tmp", dir, epoch) >=
            (int)sizeof temporary)
        return err_set(err, ERR_IO, "the path %.80s... is too long", dir);
    FILE *out = fopen(temporary, "wbe");
    if (!out)
        return err_set_errno(err, ERR_IO, "cannot create %s", temporary);
    int bad = fwrite(logp, sizeof *logp, (size_t)n, out) != (size_t)n || fflush(out) != 0 ||
              fsync(fileno(out)) != 0;
    if (bad)
        err_set_errno(err, ERR_IO, "cannot write %s", temporary);
    if (fclose(out) != 0 && !bad)
        bad = err_set_errno(err, ERR_IO, "cannot write %s", temporary);
    if (!bad && rename(temporary, path) != 0)
        bad = err_set_errno(err, ERR_IO, "cannot rename %s", temporary);
    if (bad)
        (void)unlink(temporary);
    return bad ? -1 : 0;
}
