/* model_file: see model_file.h. */
#include "server/api/model_file.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
    const char *what, *before, *after; /* in errors; around the epoch in a file's name */
} files[] = {
    [MODEL_FILE_WEIGHTS] = {"model", "epoch", "safetensors"},
    [MODEL_FILE_SPECTRUM] = {"spectrum", "spectrum", "f32"},
};

int model_file_find(const struct settings *settings, const struct job *job, enum model_file file,
                    int64_t epoch, char path[DATA_PATH_MAX], struct err *err)
{
    char found[DATA_PATH_MAX];
    if (data_path(settings, found, sizeof found, err, "jobs/%s/model/%s-%07lld.%s", job->id,
                  files[file].before, (long long)epoch, files[file].after))
        return -1;
    if (epoch > job->epoch || (access(found, R_OK) && errno == ENOENT))
        return err_set(err, ERR_NOT_FOUND,
                       "there is no %s of epoch %lld: only of the epochs in train.snapshots and "
                       "of the last, once they were reached",
                       files[file].what, (long long)epoch);
    snprintf(path, DATA_PATH_MAX, "%s", found);
    return 0;
}
