/* files: GET /jobs/{id}/checkpoint, /checkpoint/config.json, /log and /batch: the files of
 * a job, and the batch on which an epoch was measured, regenerated from the text. With
 * this batch and the model of the same epoch anyone can recompute the record.
 *
 * The route table calls the handlers on pool threads with their database reader. Each
 * request owns what it opens; the descriptor of a file passes to the HTTP thread with the
 * answer. */
#include "server/api/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "lab/sampler.h"
#include "server/api/model_file.h"
#include "server/data.h"
#include "server/datasets.h"
#include "server/http/file_reply.h"

/* Answer with the file jobs/ID/NAME at `path`, or with 404 and the sentence `missing`. */
static enum request_result file_answer_path(struct request *request, const struct job *job,
                                            const char *path, const char *name, const char *type,
                                            const char *missing)
{
    char what[DB_ID_MAX + 80];
    struct err *err = &request->err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        err_set(err, ERR_NOT_FOUND, "%s", missing);
        return request_fail(request, err);
    }
    snprintf(what, sizeof what, "%s of job %s", name, job->id);
    if (fd < 0) {
        err_set_errno(err, ERR_IO, "cannot read %s", what);
        return request_fail(request, err);
    }
    return file_reply(request, type, fd, what);
}

static enum request_result file_answer(struct request *request, const struct job *job,
                                       const char *name, const char *type, const char *missing)
{
    char path[DATA_PATH_MAX];
    struct err *err = &request->err;
    if (data_path(&request->server->settings, path, sizeof path, err, "jobs/%s/%s", job->id, name))
        return request_fail(request, err);
    return file_answer_path(request, job, path, name, type, missing);
}

/* The job of the path (job_free) and ?epoch=, by default the last one of its spec; epoch may
 * be NULL. NULL: the request is answered. */
static struct job *file_job(struct request *request, int64_t *epoch)
{
    struct job *job = NULL;
    if (job_get(request->reader, request->params[0], &job, &request->err)) {
        request_fail(request, &request->err);
        return NULL;
    }
    if (epoch &&
        request_query_int(request, "epoch", 0, job->epochs, job->epochs, epoch, &request->err)) {
        request_fail(request, &request->err);
        job_free(job);
        return NULL;
    }
    return job;
}

enum request_result api_checkpoint(struct request *request)
{
    char path[DATA_PATH_MAX], download[120];
    int64_t epoch;
    struct job *job = file_job(request, &epoch);
    if (!job)
        return REQUEST_DONE;
    if (model_file_find(&request->server->settings, job, MODEL_FILE_WEIGHTS, epoch, path,
                        &request->err))
        request_fail(request, &request->err);
    else
        file_answer_path(request, job, path, "the model", "application/octet-stream",
                         "the model was removed");
    if (request->status < 300) {
        snprintf(download, sizeof download, "attachment; filename=\"%.8s-epoch-%lld.safetensors\"",
                 job->id, (long long)epoch);
        request_header(request, MHD_HTTP_HEADER_CONTENT_DISPOSITION, download);
    }
    job_free(job);
    return REQUEST_DONE;
}

enum request_result api_checkpoint_config(struct request *request)
{
    static const char missing[] = "the job has not written a model yet";
    struct job *job = file_job(request, NULL);
    if (job && job->epoch < 0) {
        err_set(&request->err, ERR_NOT_FOUND, "%s", missing);
        request_fail(request, &request->err);
    } else if (job) {
        file_answer(request, job, "model/config.json", MEDIA_JSON, missing);
    }
    job_free(job);
    return REQUEST_DONE;
}

enum request_result api_log(struct request *request)
{
    struct job *job = file_job(request, NULL);
    if (!job)
        return REQUEST_DONE;
    file_answer(request, job, "log", "text/plain; charset=utf-8", "");
    if (request->status == 404) /* a job that never ran has an empty log */
        request_reply_text(request, 200, "text/plain; charset=utf-8", "");
    job_free(job);
    return REQUEST_DONE;
}

/* ---- batch ---- */

/* ids [B][T] as an array of rows. */
static void batch_rows(struct emit *json, const char *key, const int32_t *ids, int B, int T)
{
    emit_array(json, key);
    for (int b = 0; b < B; b++) {
        emit_array(json, NULL);
        for (int t = 0; t < T; t++)
            emit_integer(json, NULL, ids[b * T + t]);
        emit_end(json);
    }
    emit_end(json);
}

static enum request_result batch_answer(struct request *request, const struct spec *spec,
                                        const struct datasets_use *use, int64_t epoch)
{
    const struct sampler_text text = dataset_text(use->text, &use->groups);
    int B = spec->train.batch_size, T = spec->model.seq_len;
    size_t n = (size_t)B * (size_t)T;
    struct sampler *sampler = NULL;
    struct request_buffer buffer;
    int32_t *ids = malloc(2 * n * sizeof *ids);
    if (!ids)
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a batch of %zu tokens", n);
    if (!ids || sampler_open(spec, &text, &sampler, &request->err)) {
        free(ids);
        return request_fail(request, &request->err);
    }
    int64_t step = epoch * sampler_steps_per_epoch(sampler);
    sampler_batch(sampler, step, ids, ids + n);
    sampler_close(sampler);
    for (size_t i = 0; i < 2 * n; i++)
        ids[i] = dataset_original(use->text, ids[i]);
    if (!request_open(request, &buffer)) {
        struct emit *json = &buffer.json;
        emit_object(json, NULL);
        emit_integer(json, "epoch", epoch);
        emit_integer(json, "step", step);
        batch_rows(json, "inputs", ids, B, T);
        batch_rows(json, "targets", ids + n, B, T);
        emit_end(json);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    free(ids);
    return REQUEST_DONE;
}

enum request_result api_batch(struct request *request)
{
    int64_t epoch;
    struct spec *spec = NULL;
    struct datasets_use text;
    struct job *job = file_job(request, &epoch);
    if (!job)
        return REQUEST_DONE;
    if (spec_parse(job->spec, strlen(job->spec), &spec, &request->err) ||
        datasets_get(request->server->datasets, spec, &text, &request->err)) {
        request_fail(request, &request->err);
    } else {
        batch_answer(request, spec, &text, epoch);
        datasets_release(request->server->datasets, &text);
    }
    spec_free(spec);
    job_free(job);
    return REQUEST_DONE;
}
