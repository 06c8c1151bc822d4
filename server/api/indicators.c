/* api_indicators: GET /jobs/{id}/indicators?epoch=: what the embedding rows of a
 * stored model tell about its tokens (lab/indicators), with counts and texts.
 * Pool: the rows of a large model take a second or two. */
#include "server/api/indicators.h"

#include <math.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "lab/indicators.h"
#include "server/datasets.h"
#include "server/json.h"
#include "server/api/model_rows.h"
#include "server/data.h"

static void write_number(FILE *out, const char *name, double value)
{
    fprintf(out, ",\"%s\":", name);
    record_print_number(out, value);
}

static void write_areas(FILE *out, const char *name, double area, const double *by_count)
{
    fprintf(out, ",\n\"%s\":{\"auc\":", name);
    record_print_number(out, area);
    fputs(",\"by_count\":[", out);
    for (int at = 1; at < FREQUENCY_CLASSES; at++) {
        fprintf(out, "%s{\"from\":%lld,\"auc\":", at > 1 ? "," : "",
                (long long)frequency_class_from[at]);
        record_print_number(out, by_count[at]);
        putc('}', out);
    }
    fputs("]}", out);
}

static void write_cloud(FILE *out, const char *name, const struct indicators_cloud *cloud,
                        const struct spec *spec)
{
    fprintf(out, "%s\"%s\":{\"tokens\":%d", *name == 'a' ? "" : ",\n", name, cloud->n);
    write_number(out, "row_norm", cloud->row_norm);
    write_number(out, "mean_norm", cloud->mean_norm);
    write_number(
        out, "mean_norm_untrained",
        cloud->n && !spec->init_from[0]
            ? indicators_untrained_mean_norm(spec->model.init_std, spec->model.d_model, cloud->n)
            : NAN);
    write_number(out, "mean_cosine", cloud->mean_cosine);
    putc('}', out);
}

/* Ids are the tokenizer's, whatever the model calls them. */
static void write_nearest(FILE *out, const struct indicators *indicators, const struct bpe *bpe,
                          const struct dataset *text)
{
    fputs(",\n\"nearest\":[", out);
    for (int i = 0; i < indicators->n_nearest; i++) {
        size_t n = 0;
        const int32_t own = indicators->nearest[i].id, id = dataset_original(text, own);
        const char *bytes = bpe ? bpe_token(bpe, id, &n) : NULL;
        fprintf(out, "%s\n{\"id\":%d,\"text\":", i ? "," : "", id);
        if (bytes)
            json_write_bytes(out, bytes, n);
        else
            fputs("null", out);
        fprintf(out, ",\"count\":%lld", (long long)text->frequency.counts[own]);
        write_number(out, "distance", indicators->nearest[i].distance);
        putc('}', out);
    }
    putc(']', out);
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
    FILE *out = buffer.out;
    fprintf(out,
            "{\"job\":\"%s\",\"epoch\":%lld,\"tied\":%s,\"reference_tokens\":%d,"
            "\"held_out_tokens\":%d",
            job->id, (long long)epoch, rows->output == rows->input ? "true" : "false",
            found.n_reference, found.n_held_out);
    write_areas(out, "distance", found.distance_auc, found.distance_auc_by_count);
    write_areas(out, "input_norm", found.norm_auc, found.norm_auc_by_count);
    write_number(out, "held_out_distance", found.held_out_distance);
    write_number(out, "used_distance", found.used_distance);
    fputs(",\n\"rows\":{", out);
    write_cloud(out, "all", &found.all, spec);
    write_cloud(out, "used", &found.used, spec);
    write_cloud(out, "unused", &found.unused, spec);
    putc('}', out);
    write_number(out, "cosine_of_means", found.cosine_of_means);
    write_nearest(out, &found, bpe, text);
    fputs("}\n", out);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* Counts of the text, if the model's rows are its vocabulary's. */
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
    if (data_path(&request->server->settings, path, sizeof path, err,
                  "jobs/%s/model/epoch-%07lld.safetensors", job->id, (long long)epoch))
        return -1;
    if (!model_rows_open(path, rows, err))
        return 0;
    if (err->code == ERR_NOT_FOUND)
        err_set(err, ERR_NOT_FOUND,
                "there is no model of epoch %lld: only of the epochs in train.snapshots and of "
                "the last, once they were reached",
                (long long)epoch);
    return -1;
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
