/* job_files: see job_files.h. */
#include "server/queue/job_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/file.h"
#include "config/log.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "server/data.h"

#define JOB_FILES_ASIDE ".deleted-"

struct job_files {
    char path[DATA_PATH_MAX], aside[DATA_PATH_MAX];
};

static int job_files_paths(const struct settings *settings, const char *id, struct job_files *files,
                           struct err *err)
{
    if (data_path(settings, files->path, sizeof files->path, err, "jobs/%s", id))
        return -1;
    return data_path(settings, files->aside, sizeof files->aside, err, "jobs/" JOB_FILES_ASIDE "%s",
                     id);
}

int job_files_set_aside(const struct settings *settings, const char *id, struct err *err)
{
    struct job_files files;
    if (job_files_paths(settings, id, &files, err))
        return -1;
    if (rename(files.path, files.aside) && errno != ENOENT)
        return err_set_errno(err, ERR_IO, "cannot rename the files of job %s", id);
    return 0;
}

void job_files_put_back(const struct settings *settings, const char *id)
{
    struct job_files files;
    if (!job_files_paths(settings, id, &files, NULL) && rename(files.aside, files.path) &&
        errno != ENOENT)
        log_line(LOG_ERROR, "%s cannot be renamed to %s: %s", files.aside, files.path,
                 strerror(errno));
}

int job_files_remove(const struct settings *settings, const char *id, struct err *err)
{
    struct job_files files;
    if (job_files_paths(settings, id, &files, err))
        return -1;
    if (file_remove_folder(files.aside, err))
        return err_prefix(err, "job %s is deleted, but not all of its files", id);
    return 0;
}

static int job_files_sweep_one(const struct settings *settings, struct db_reader *reader,
                               const char *id, struct err *err)
{
    struct job *job = NULL;
    err_clear(err);
    if (!job_get(reader, id, &job, err)) {
        job_free(job);
        job_files_put_back(settings, id);
        return 0;
    }
    if (err->code != ERR_NOT_FOUND)
        return -1;
    err_clear(err);
    if (job_files_remove(settings, id, err))
        log_line(LOG_WARNING, "%s", err->message);
    return 0;
}

int job_files_sweep(const struct settings *settings, struct db_reader *reader, struct err *err)
{
    char folder[DATA_PATH_MAX];
    int result = data_path(settings, folder, sizeof folder, err, "jobs");
    DIR *entries = result ? NULL : opendir(folder);
    if (!result && !entries)
        result = err_set_errno(err, ERR_IO, "cannot read %s", folder);
    for (struct dirent *entry; !result && (entry = readdir(entries));)
        if (strncmp(entry->d_name, JOB_FILES_ASIDE, sizeof JOB_FILES_ASIDE - 1) == 0)
            result = job_files_sweep_one(settings, reader,
                                         entry->d_name + sizeof JOB_FILES_ASIDE - 1, err);
    if (entries)
        closedir(entries);
    return result;
}

/* What lies in the folder besides the log. */
static const char *const part_files[RETENTION_JOB][3] = {
    [RETENTION_STATE] = {"checkpoint", "checkpoint.previous", "checkpoint.new"},
    [RETENTION_MODELS] = {"model"}};

static int job_files_part_paths(const struct settings *settings, const char *id,
                                enum retention_part part, struct job_files *files, struct err *err)
{
    if (data_path(settings, files->path, sizeof files->path, err, "jobs/%s", id))
        return -1;
    return data_path(settings, files->aside, sizeof files->aside, err,
                     "jobs/" JOB_FILES_ASIDE "%s.%s", id, retention_part_name(part));
}

/* Rename the files of a part from one folder to another; those that are missing are fine. */
static int job_files_part_move(const char *from, const char *to, enum retention_part part,
                               struct err *err)
{
    for (int i = 0; i < 3 && part_files[part][i]; i++) {
        char old[DATA_PATH_MAX + 32], new[DATA_PATH_MAX + 32];
        snprintf(old, sizeof old, "%s/%s", from, part_files[part][i]);
        snprintf(new, sizeof new, "%s/%s", to, part_files[part][i]);
        if (rename(old, new) && errno != ENOENT)
            return err_set_errno(err, ERR_IO, "cannot rename %s", old);
    }
    return 0;
}

int job_files_part_set_aside(const struct settings *settings, const char *id,
                             enum retention_part part, struct err *err)
{
    struct job_files files;
    if (job_files_part_paths(settings, id, part, &files, err) || file_make_folder(files.aside, err))
        return -1;
    return job_files_part_move(files.path, files.aside, part, err);
}

void job_files_part_put_back(const struct settings *settings, const char *id,
                             enum retention_part part)
{
    struct job_files files;
    struct err err = ERR_INIT;
    if (job_files_part_paths(settings, id, part, &files, &err) ||
        job_files_part_move(files.aside, files.path, part, &err) ||
        file_remove_folder(files.aside, &err))
        log_line(LOG_ERROR, "files of job %s are not where they were: %s", id, err.message);
}

int job_files_part_remove(const struct settings *settings, const char *id, enum retention_part part,
                          struct err *err)
{
    struct job_files files;
    if (job_files_part_paths(settings, id, part, &files, err))
        return -1;
    return file_remove_folder(files.aside, err);
}

struct job_sizes job_files_measure(const struct settings *settings, const char *id)
{
    char path[DATA_PATH_MAX];
    struct stat found;
    struct job_sizes sizes = {0};
    if (data_path(settings, path, sizeof path, NULL, "jobs/%s", id))
        return sizes;
    sizes.total = file_folder_bytes(path);
    if (!data_path(settings, path, sizeof path, NULL, "jobs/%s/model", id))
        sizes.model = file_folder_bytes(path);
    for (int i = 0; i < 3; i++)
        if (!data_path(settings, path, sizeof path, NULL, "jobs/%s/%s", id,
                       part_files[RETENTION_STATE][i]) &&
            !stat(path, &found))
            sizes.state += found.st_size;
    return sizes;
}
