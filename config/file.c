/* file: see file.h. */
#include "config/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- folders ---- */

int file_make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0755) && errno != EEXIST)
        return err_set_errno(err, ERR_IO, "cannot make the folder %s", path);
    return 0;
}

/* Make the folders above a path. */
static int file_make_above(const char *path, struct err *err)
{
    char above[PATH_MAX];
    if (snprintf(above, sizeof above, "%s", path) >= (int)sizeof above)
        return err_set(err, ERR_TOO_LARGE, "the path %.80s... is too long", path);
    for (char *at = strchr(above + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (file_make_folder(above, err))
            return -1;
        *at = '/';
    }
    return 0;
}

int file_make_folders(const char *path, struct err *err)
{
    return file_make_above(path, err) ? -1 : file_make_folder(path, err);
}

int file_make_private(const char *path, struct err *err)
{
    if (file_make_above(path, err))
        return -1;
    if (mkdir(path, 0700) && errno != EEXIST)
        return err_set_errno(err, ERR_IO, "cannot make the folder %s", path);
    return 0;
}

/* Remove an entry; 1 and errno if that failed. Another one may remove it at the same time:
 * what is gone is no failure. */
static int file_unlink_at(int parent, const char *name, int flags)
{
    return unlinkat(parent, name, flags) != 0 && errno != ENOENT;
}

/* Errors of one entry do not end the walk: as much goes as can. Returns how many stayed, with
 * the errno of the last one in *why. */
static int file_clear_at(int parent, const char *name, const char *kept, int *why)
{
    int left = 0, fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        const int reason = errno;
        if (fd >= 0)
            close(fd);
        if (reason != ENOENT)
            *why = reason;
        return reason != ENOENT;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *found = entry->d_name;
        if (strcmp(found, ".") == 0 || strcmp(found, "..") == 0 ||
            (kept && strcmp(found, kept) == 0) || !file_unlink_at(fd, found, 0))
            continue;
        left += file_clear_at(fd, found, NULL, why);
        if (file_unlink_at(fd, found, AT_REMOVEDIR)) {
            *why = errno;
            left++;
        }
    }
    closedir(folder);
    return left;
}

int file_clear_folder(const char *path, const char *kept, struct err *err)
{
    int why = 0;
    if (!file_clear_at(AT_FDCWD, path, kept, &why))
        return 0;
    errno = why;
    return err_set_errno(err, ERR_IO, "cannot remove everything in %s", path);
}

int file_remove_folder(const char *path, struct err *err)
{
    if (file_clear_folder(path, NULL, err))
        return -1;
    if (rmdir(path) && errno != ENOENT)
        return err_set_errno(err, ERR_IO, "cannot remove the folder %s", path);
    return 0;
}

static int64_t file_bytes_at(int parent, const char *name)
{
    int64_t bytes = 0;
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat found;
        const char *below = entry->d_name;
        if (strcmp(below, ".") == 0 || strcmp(below, "..") == 0 ||
            fstatat(fd, below, &found, AT_SYMLINK_NOFOLLOW))
            continue;
        if (S_ISDIR(found.st_mode))
            bytes += file_bytes_at(fd, below);
        else if (S_ISREG(found.st_mode))
            bytes += found.st_size;
    }
    closedir(folder);
    return bytes;
}

int64_t file_folder_bytes(const char *path)
{
    return file_bytes_at(AT_FDCWD, path);
}

static int file_sync_as(const char *path, int flags, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    int result =
        fd < 0 || fsync(fd) ? err_set_errno(err, ERR_IO, "cannot make %s durable", path) : 0;
    if (fd >= 0)
        close(fd);
    return result;
}

int file_sync(const char *path, struct err *err)
{
    return file_sync_as(path, 0, err);
}

int file_sync_folder(const char *path, struct err *err)
{
    return file_sync_as(path, O_DIRECTORY, err);
}

int file_sync_all(const char *path, struct err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const int result =
        fd < 0 || syncfs(fd) ? err_set_errno(err, ERR_IO, "cannot make %s durable", path) : 0;
    if (fd >= 0)
        close(fd);
    return result;
}

/* ---- whole reads and writes ---- */

int file_read_whole(int fd, void *bytes, size_t n, const char *path, struct err *err)
{
    for (char *at = bytes; n > 0;) {
        ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, ERR_IO, "cannot read %s", path);
        if (got == 0)
            return err_set(err, ERR_CORRUPT, "%s is cut short", path);
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int file_write_whole(int fd, const void *bytes, size_t n, const char *path, struct err *err)
{
    for (const char *at = bytes; n > 0;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set_errno(err, ERR_IO, "cannot write %s", path);
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

/* ---- copies ---- */

/* All bytes to the end of the file. copy_file_range shares blocks where it can; some pairs of
 * file systems refuse it, before the first byte. */
static int file_copy_bytes(int in, int out, const char *to, struct err *err)
{
    enum { AT_A_TIME = 1 << 30 };
    int with_range = 1;
    for (;;) {
        ssize_t n = with_range ? copy_file_range(in, NULL, out, NULL, AT_A_TIME, 0)
                               : sendfile(out, in, NULL, AT_A_TIME);
        if (n == 0)
            return 0;
        if (n > 0 || errno == EINTR)
            continue;
        if (!with_range)
            return err_set_errno(err, ERR_IO, "cannot write %s", to);
        with_range = 0;
    }
}

static int file_copy_to(int in, int out, const char *to, struct err *err)
{
    struct stat info;
    if (fstat(in, &info))
        return err_set_errno(err, ERR_IO, "cannot copy to %s", to);
    if (file_copy_bytes(in, out, to, err))
        return -1;
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    if (futimens(out, times) || fsync(out))
        return err_set_errno(err, ERR_IO, "cannot write %s", to);
    return 0;
}

int file_copy(const char *from, const char *to, struct err *err)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", from);
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int result =
        out < 0 ? err_set_errno(err, errno == EEXIST ? ERR_CONFLICT : ERR_IO, "cannot make %s", to)
                : file_copy_to(in, out, to, err);
    close(in);
    if (out >= 0 && close(out) && !result)
        result = err_set_errno(err, ERR_IO, "cannot write %s", to);
    if (result && out >= 0)
        unlink(to);
    return result;
}

/* ---- maps ---- */

static int file_map_fd(int fd, int access, const char *path, struct file_map *out, struct err *err)
{
    struct stat info;
    if (fstat(fd, &info))
        return err_set_errno(err, ERR_IO, "cannot read %s", path);
    if (!S_ISREG(info.st_mode) || info.st_size == 0)
        return err_set(err, ERR_CORRUPT, "%s is empty or not a regular file", path);
    void *bytes = mmap(NULL, (size_t)info.st_size, access, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_set_errno(err, ERR_IO, "cannot map %s", path);
    *out = (struct file_map){.bytes = bytes, .n = (size_t)info.st_size};
    return 0;
}

static int file_map_as(const char *path, int access, struct file_map *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
    int result = file_map_fd(fd, access, path, out, err);
    close(fd); /* the map keeps the file */
    return result;
}

int file_map_open(const char *path, struct file_map *out, struct err *err)
{
    return file_map_as(path, PROT_READ, out, err);
}

int file_map_open_private(const char *path, struct file_map *out, struct err *err)
{
    return file_map_as(path, PROT_READ | PROT_WRITE, out, err);
}

void file_map_close(struct file_map *map)
{
    if (map->bytes)
        munmap((void *)map->bytes, map->n);
    *map = (struct file_map){0};
}

/* ---- atomic replacement ---- */

int file_atomic_open(struct file_atomic *file, const char *dir, const char *name, mode_t mode,
                     struct err *err)
{
    file->dir = dir;
    if (snprintf(file->temporary, sizeof file->temporary, "%s/%s.new", dir, name) >= PATH_MAX ||
        snprintf(file->path, sizeof file->path, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(err, ERR_TOO_LARGE, "the path %.80s... is too long", dir);
    /* A killed process may have left its temporary file. Remove it, because `mode` applies
     * to new files only. */
    unlink(file->temporary);
    int fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    file->out = fd < 0 ? NULL : fdopen(fd, "wb");
    if (file->out)
        return 0;
    err_set_errno(err, ERR_IO, "cannot make %s", file->temporary);
    if (fd >= 0)
        close(fd);
    return -1;
}

int file_atomic_sync(struct file_atomic *file, struct err *err)
{
    if (fflush(file->out) || ferror(file->out) || fsync(fileno(file->out)))
        return err_set_errno(err, ERR_IO, "cannot write %s", file->temporary);
    return 0;
}

void file_atomic_abort(struct file_atomic *file)
{
    if (file->out)
        fclose(file->out);
    file->out = NULL;
    unlink(file->temporary);
}

int file_atomic_commit(struct file_atomic *file, struct err *err)
{
    int result = file_atomic_sync(file, err);
    FILE *out = file->out;
    file->out = NULL;
    if (fclose(out) && !result)
        result = err_set_errno(err, ERR_IO, "cannot write %s", file->temporary);
    if (!result && rename(file->temporary, file->path))
        result = err_set_errno(err, ERR_IO, "cannot rename %s", file->temporary);
    if (result) {
        file_atomic_abort(file);
        return -1;
    }
    return file_sync_folder(file->dir, err);
}

int file_free_bytes(const char *folder, int64_t *bytes, struct err *err)
{
    struct statvfs system;
    if (statvfs(folder, &system) != 0)
        return err_set_errno(err, ERR_IO, "%s", folder);
    *bytes = (int64_t)(system.f_bavail * system.f_frsize);
    return 0;
}
