/* file: whole reads, whole writes and atomic replacement of files.
 *
 * Readers never see a file half written: it is written under a temporary name, made durable
 * with fsync, then renamed. The folder is synced last, because the new name is data of the
 * folder. Any thread; one thread per object. */
#ifndef TOKENFATE_FILE_H
#define TOKENFATE_FILE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "config/err.h"

/* Make a folder if it is missing; the folder above it exists. ERR_IO. */
int file_make_folder(const char *path, struct err *err);
/* The same, with all folders above it. */
int file_make_folders(const char *path, struct err *err);
/* The same, but what is made at the path is for its owner alone (mode 0700). */
int file_make_private(const char *path, struct err *err);

/* Remove what lies in a folder but for the entry `kept` (NULL: everything), with all that is
 * below, following no link. A folder that is missing is empty. ERR_IO names what is left. */
int file_clear_folder(const char *path, const char *kept, struct err *err);
/* The same, and the folder itself. */
int file_remove_folder(const char *path, struct err *err);
/* Bytes of the files in a folder and in those below it, 0 if there is none. What goes away
 * meanwhile does not count. */
int64_t file_folder_bytes(const char *path);

/* Bytes of the regular files in a folder and below, following no link. What is missing, or goes
 * meanwhile, has none. */
int64_t file_folder_bytes(const char *path);

/* fsync of a file, and of a folder: its names become durable. ERR_IO. */
int file_sync(const char *path, struct err *err);
int file_sync_folder(const char *path, struct err *err);
/* syncfs of the file system at a path: for many names at once. */
int file_sync_all(const char *path, struct err *err);

/* Copy a regular file to a path that is free, durable, with its times; blocks are shared where
 * the file system can. ERR_NOT_FOUND: no file at `from`; ERR_CONFLICT: one at `to`; ERR_IO.
 * What a failure leaves at `to` is removed. */
int file_copy(const char *from, const char *to, struct err *err);

/* Exactly n bytes from and to a descriptor, restarted after EINTR and short transfers.
 * `path` is what errors name. ERR_IO; ERR_CORRUPT if the file ends before n bytes. */
int file_read_whole(int fd, void *bytes, size_t n, const char *path, struct err *err);
int file_write_whole(int fd, const void *bytes, size_t n, const char *path, struct err *err);

/* A regular file mapped read-only. `bytes` lies page-aligned and has `n` >= 1 bytes. */
struct file_map {
    const void *bytes;
    size_t n;
};
/* ERR_NOT_FOUND; ERR_CORRUPT for an empty file or one that is not regular; ERR_IO. A FIFO
 * is refused, not waited for. */
int file_map_open(const char *path, struct file_map *out, struct err *err);
/* The same, writable: what is written stays in this process, page by page. */
int file_map_open_private(const char *path, struct file_map *out, struct err *err);
/* Unmap; does nothing if bytes is NULL. */
void file_map_close(struct file_map *map);

/* Bytes that a program without privileges may still write below a folder. ERR_IO. */
int file_free_bytes(const char *folder, int64_t *bytes, struct err *err);

/* A file that is replaced atomically: DIR/NAME through DIR/NAME.new. After file_atomic_open
 * write to `out`, then call exactly one of commit and abort. */
struct file_atomic {
    char path[PATH_MAX], temporary[PATH_MAX];
    const char *dir;
    FILE *out;
};
/* mode: of the new file, minus the umask. ERR_TOO_LARGE for a path that does not fit;
 * ERR_IO. */
int file_atomic_open(struct file_atomic *file, const char *dir, const char *name, mode_t mode,
                     struct err *err);
/* Flush and fsync the temporary file; reports errors of earlier writes to `out`. commit
 * calls it too; a separate call lets the caller free space between sync and rename. */
int file_atomic_sync(struct file_atomic *file, struct err *err);
/* Sync, close, rename, sync the folder. On failure before the rename the temporary file
 * is removed and the old file is untouched. ERR_IO. */
int file_atomic_commit(struct file_atomic *file, struct err *err);
/* Close and remove the temporary file. */
void file_atomic_abort(struct file_atomic *file);

#endif
