/* compact: rewrites the whole database file without its free pages, and switches a
 * file of an older program to incremental vacuum, which SQLite does only with a full
 * VACUUM. It takes minutes for a large file and needs free space of twice its size, so
 * a command does it while no server runs; a server gives pages back in short steps
 * (housekeeping.h). */
#ifndef TOKENFATE_COMPACT_H
#define TOKENFATE_COMPACT_H

#include "config/err.h"

/* Migrate the file, finish its deletions, rewrite it. The caller holds the lock of the
 * data folder. A crash leaves the file as it was. ERR_NOT_FOUND without the file; else
 * the errors of db_open; ERR_UNAVAILABLE without space. */
int compact(const char *path, struct err *err);

#endif
