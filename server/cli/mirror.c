/* mirror: see mirror.h. */
#include "server/cli/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "server/data.h"

/* ---- one file ---- */

static int mirror_same_copy(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* 0 if the file has gone meanwhile. */
static int mirror_copy(struct mirror *mirror, const char *from, const char *to,
                       const struct stat *info, struct err *err)
{
    struct err failed = ERR_INIT;
    unlink(to);
    if (file_copy(from, to, &failed) == 0) {
        mirror->copied++;
        mirror->bytes += info->st_size;
        return 0;
    }
    if (failed.code == ERR_NOT_FOUND)
        return 0;
    *err = failed;
    return -1;
}

/* Only `log` is appended to; what links to it would grow with it. */
static int mirror_file(struct mirror *mirror, const char *from, const char *to, const char *name,
                       const struct stat *info, struct err *err)
{
    struct stat present;
    const int is_there = lstat(to, &present) == 0;
    const int may_link = strcmp(name, "log") != 0;
    if (is_there && (mirror_same_copy(&present, info) ||
                     (present.st_ino == info->st_ino && present.st_dev == info->st_dev)))
        return 0;
    if (is_there && unlink(to))
        return err_set_errno(err, ERR_IO, "cannot replace %s", to);
    if (may_link && link(from, to) == 0) {
        mirror->linked++;
        return 0;
    }
    if (may_link && errno == ENOENT)
        return 0;
    return mirror_copy(mirror, from, to, info, err); /* another file system, or no right to link */
}

/* ---- folders ---- */

static int mirror_skips(const char *name)
{
    const size_t n = strlen(name);
    return name[0] == '.' || (n > 4 && strcmp(name + n - 4, ".new") == 0);
}

static int mirror_path(char *path, const char *folder, const char *name, struct err *err)
{
    if (snprintf(path, DATA_PATH_MAX, "%s/%s", folder, name) >= DATA_PATH_MAX)
        return err_set(err, ERR_TOO_LARGE, "a path below %.200s has more than %d bytes", folder,
                       DATA_PATH_MAX);
    return 0;
}

/* Remove from `to` what `from` has not. */
static int mirror_drop(const char *from, const char *to, struct err *err)
{
    char path[DATA_PATH_MAX];
    int result = 0;
    DIR *entries = opendir(to);
    for (struct dirent *entry; entries && !result && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        if (mirror_path(path, from, entry->d_name, err))
            result = -1;
        else if (access(path, F_OK) && errno == ENOENT)
            result = mirror_path(path, to, entry->d_name, err) ||
                             (unlink(path) && file_remove_folder(path, err))
                         ? -1
                         : 0;
    }
    if (entries)
        closedir(entries);
    return result;
}

static int mirror_folder(struct mirror *mirror, const char *from, const char *to, int depth,
                         struct err *err);

static int mirror_entry(struct mirror *mirror, const char *from, const char *to, const char *name,
                        int depth, struct err *err)
{
    char source[DATA_PATH_MAX], target[DATA_PATH_MAX];
    struct stat info;
    if (mirror_path(source, from, name, err) || mirror_path(target, to, name, err))
        return -1;
    if (lstat(source, &info))
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, "cannot read %s", source);
    if (S_ISDIR(info.st_mode))
        return mirror_folder(mirror, source, target, depth + 1, err);
    return S_ISREG(info.st_mode) ? mirror_file(mirror, source, target, name, &info, err) : 0;
}

/* depth 0: the folder of all texts or of all jobs, where an entry that has gone stays. */
static int mirror_folder(struct mirror *mirror, const char *from, const char *to, int depth,
                         struct err *err)
{
    DIR *entries = opendir(from);
    if (!entries)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, "cannot read %s", from);
    int result = file_make_private(to, err);
    for (struct dirent *entry; !result && (entry = readdir(entries));)
        if (!mirror_skips(entry->d_name))
            result = mirror_entry(mirror, from, to, entry->d_name, depth, err);
    closedir(entries);
    if (!result && depth && access(from, F_OK) == 0)
        result = mirror_drop(from, to, err);
    return result ? -1 : 0;
}

int mirror_run(struct mirror *mirror, const char *from, const char *to, struct err *err)
{
    static const char *const folders[] = {"corpora", "jobs"};
    char source[DATA_PATH_MAX], target[DATA_PATH_MAX];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mirror_path(source, from, folders[i], err) ||
            mirror_path(target, to, folders[i], err) ||
            mirror_folder(mirror, source, target, 0, err))
            return -1;
    return 0;
}
