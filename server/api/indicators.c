/* indicators: GET /jobs/{id}/indicators?epoch=. What the embedding rows of a stored model
 * reveal about the tokens (lab/indicators), with counts and texts of tokens.
 *
 * The route table calls api_indicators on a pool thread, because the rows of a large model
 * take a second or two. The request maps the model file (model_rows) and borrows the
 * counts from server/datasets; it releases both before it returns. Invariant: rows and
 * counts have the same number of tokens (check_rows) before lab/indicators reads them. */
#include "server/api/indicators.h"

#include <math.h>
#include <string.h>

#include "config/emit.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "lab/bpe.h"
#include "lab/indicators.h"
#include "server/api/model_file.h"
#include "server/api/model_rows.h"
#include "server/data.h"
#include "server/datasets.h"

/* Class 0 holds the unused tokens, so the areas of used tokens start at class 1. */
static void write_areas(struct emit *json, const char *key, double area, const double *by_count)
{
    emit_object(json, key);
    emit_number(json, "auc", area);
    emit_array(json, "by_count");
    for (int at = 1; at < FREQUENCY_CLASSES; at++) {
        emit_object(json, NULL);
        emit_integer(json, "from", frequency_class_from[at]);
        emit_number(json, "auc", by_count[at]);
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

/* A model that starts from another job's model has no untrained norm. */
static void write_cloud(struct emit *json, const char *key, const struct indicators_cloud *cloud,
                        const struct spec *spec)
{
    emit_object(json, key);
    emit_integer(json, "tokens", cloud->n);
    emit_number(json, "row_norm", cloud->row_norm);
    emit_number(json, "mean_norm", cloud->mean_norm);
    emit_number(
        json, "mean_norm_untrained",
        cloud->n && !spec->init_from[0]
            ? indicators_untrained_mean_norm(spec->model.init_std, spec->model.d_model, cloud->n)
            : NAN);
    emit_number(json, "mean_cosine", cloud->mean_cosine);
    emit_end(json);
}

/* Ids in the answer are the tokenizer's; indicators numbers tokens as the model does. */
static void write_nearest(struct emit *json, const struct indicators *indicators,
                          const struct bpe *bpe, const struct dataset *text)
{
    emit_array(json, "nearest");
    for (int i = 0; i < indicators->n_nearest; i++) {
        size_t n = 0;
        const int32_t own = indicators->nearest[i].id, id = dataset_original(text, own);
        const char *bytes = bpe ? bpe_token(bpe, id, &n) : NULL;
        emit_object(json, NULL);
        emit_integer(json, "id", id);
        if (bytes)
            emit_bytes(json, "text", bytes, n);
        else
            emit_null(json, "text");
        emit_integer(json, "count", text->frequency.counts[own]);
        emit_number(json, "distance", indicators->nearest[i].distance);
        emit_end(json);
    }
    emit_end(json);
}

static void write_indicators(struct emit *json, const struct indicators *found,
                             const struct spec *spec)
{
    emit_integer(json, "reference_tokens", found->n_reference);
    emit_integer(json, "held_out_tokens", found->n_held_out);
    write_areas(json, "distance", found->distance_auc, found->distance_auc_by_count);
    write_areas(json, "input_norm", found->norm_auc, found->norm_auc_by_count);
    emit_number(json, "held_out_distance", found->held_out_distance);
    emit_number(json, "used_distance", found->used_distance);
    emit_object(json, "rows");
    write_cloud(json, "all", &found->all, spec);
    write_cloud(json, "used", &found->used, spec);
    write_cloud(json, "unused", &found->unused, spec);
    emit_end(json);
    emit_number(json, "cosine_of_means", found->cosine_of_means);
}

static enum request_result indicators_answer(struct request *request, const struct job *job,
                                             int64_t epoch, const struct spec *spec,
                                             const struct dataset *text,
                                             const struct model_rows *rows)
{
    struct indicators found;
    struct request_buffer buffer;
    const struct bpe *bpe = NULL;
    if (indicators_of(rows->output, rows->input, (int)rows->C, &text->frequency, &found,
                      &request->err) ||
        datasets_tokenizer(request->server->datasets, spec->corpus.tokenizer, &bpe, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct emit *json = &buffer.json;
    emit_object(json, NULL);
    emit_text(json, "job", job->id);
    emit_integer(json, "epoch", epoch);
    emit_bool(json, "tied", rows->output == rows->input);
    write_indicators(json, &found, spec);
    write_nearest(json, &found, bpe, text);
    emit_end(json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* ERR_CONFLICT for an adaptive head, ERR_CORRUPT if the rows do not match the job. */
static int check_rows(const struct spec *spec, const struct model_rows *rows,
                      const struct frequency *frequency, struct err *err)
{
    if (spec->model.head != HEAD_FULL)
        return err_set(err, ERR_CONFLICT,
                       "an adaptive head has rows of several lengths: no indicators");
    if (rows->vocab != frequency->vocab || rows->C != spec->model.d_model)
        return err_set(err, ERR_CORRUPT, "a model of %lld rows of %lld, its job has %d of %d",
                       (long long)rows->vocab, (long long)rows->C, frequency->vocab,
                       spec->model.d_model);
    return 0;
}

static int open_rows(struct request *request, const struct job *job, int64_t epoch,
                     struct model_rows *rows, struct err *err)
{
    char path[DATA_PATH_MAX];
    return model_file_find(&request->server->settings, job, MODEL_FILE_WEIGHTS, epoch, path, err) ||
                   model_rows_open(path, rows, err)
               ? -1
               : 0;
}

enum request_result api_indicators(struct request *request)
{
    struct job *job = NULL;
    struct spec *spec = NULL;
    struct datasets_use text = {0};
    struct model_rows rows = {0};
    struct err *err = &request->err;
    int64_t epoch;
    int has_text = 0;
    int failed = job_get(request->reader, request->params[0], &job, err) ||
                 request_query_int(request, "epoch", 0, job->epochs, job->epochs, &epoch, err) ||
                 spec_parse(job->spec, strlen(job->spec), &spec, err) ||
                 open_rows(request, job, epoch, &rows, err);
    if (!failed) {
        failed = datasets_get(request->server->datasets, spec, &text, err);
        has_text = !failed;
    }
    if (failed || check_rows(spec, &rows, &text.text->frequency, err))
        request_fail(request, err);
    else
        indicators_answer(request, job, epoch, spec, text.text, &rows);
    if (has_text)
        datasets_release(request->server->datasets, &text);
    model_rows_close(&rows);
    spec_free(spec);
    job_free(job);
    return REQUEST_DONE;
}
