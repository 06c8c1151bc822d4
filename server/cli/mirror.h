/* mirror: files of one data folder brought to another, for backup and restore. Files that their
 * writers replace by rename or never change are linked; where a link is not possible, and for
 * logs, which grow in place, they are copied. Main thread. */
#ifndef TOKENFATE_MIRROR_H
#define TOKENFATE_MIRROR_H

#include <stdint.h>

#include "config/err.h"

struct mirror {
    int64_t linked, copied, bytes; /* files, and bytes of the copied ones */
};

/* Bring the texts and the jobs' files below `from` to `to`; the caller makes the names durable
 * (file_sync_all). What `to` has already
 * stays where it is the same; a job's folder in `to` loses what it does not have in `from`, and
 * stays as it is if the job has gone from there. Files that are being written (.new, .upload-)
 * and deleted (.deleted-) are left out. Beside a running server files come and go meanwhile,
 * which is no error. ERR_IO, ERR_TOO_LARGE. */
int mirror_run(struct mirror *mirror, const char *from, const char *to, struct err *err);

#endif
