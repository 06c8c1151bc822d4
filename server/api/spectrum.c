/* api_spectrum: GET /jobs/{id}/spectrum. Mean log p by how often tokens occur:
 * classes of tokens over epochs, from the records; or, with ?epoch=, every token
 * of the vocabulary at a snapshot, from the file that the trainer left beside the
 * model. As JSON or CSV. On a pool thread. */
#include "server/api/spectrum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "lab/frequency.h"
#include "server/http/csv.h"
#include "server/api/curves.h"
#include "server/datasets.h"
#include "server/http/large_reply.h"
#include "server/data.h"
#include "db/jobs.h"

enum { SPECTRUM_POINTS = 200, SPECTRUM_TOKEN_BYTES = 40 /* of an answer, about */ };

/* The arrays of a record that make a spectrum, in the answer's order. */
static const struct {
    const char *kind, *what;
    enum record_scalar first;
} arrays[] = {
    {"by_count", "logp", RECORD_LOGP_BY_COUNT},
    {"by_count", "tokens", RECORD_TOKENS_BY_COUNT},
    {"by_exposure", "logp", RECORD_LOGP_BY_EXPOSURE},
    {"by_exposure", "tokens", RECORD_TOKENS_BY_EXPOSURE},
};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

/* ---- classes over epochs ---- */

static char *pointers(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    for (int a = 0; out && a < ARRAYS; a++)
        for (int c = 0; c < FREQUENCY_CLASSES; c++)
            fprintf(out, "%s%s", a || c ? "," : "",
                    record_scalar_pointer((enum record_scalar)(arrays[a].first + c)));
    if (out)
        fclose(out);
    return text;
}

static void write_classes(FILE *out)
{
    fputs(",\"classes\":[", out);
    for (int c = 0; c < FREQUENCY_CLASSES; c++) {
        fprintf(out, "%s{\"from\":%lld,\"to\":", c ? "," : "", (long long)frequency_class_from[c]);
        if (c + 1 < FREQUENCY_CLASSES)
            fprintf(out, "%lld}", (long long)frequency_class_from[c + 1] - 1);
        else
            fputs("null}", out);
    }
    putc(']', out);
}

static void write_array(FILE *out, const struct curves *curves, int array)
{
    fprintf(out, "\"%s\":[", arrays[array].what);
    for (int c = 0; c < FREQUENCY_CLASSES; c++) {
        const double *values = curves_of(curves, 0, array * FREQUENCY_CLASSES + c);
        fputs(c ? ",\n[" : "\n[", out);
        for (int p = 0; p < curves->n_points; p++) {
            fputs(p ? "," : "", out);
            record_print_number(out, values[p]);
        }
        putc(']', out);
    }
    putc(']', out);
}

static void write_curves(FILE *out, const struct job *job, const struct curves *curves)
{
    fprintf(out, "{\"job\":\"%s\"", job->id);
    write_classes(out);
    fputs(",\"epochs\":[", out);
    for (int p = 0; p < curves->n_points; p++)
        fprintf(out, "%s%lld", p ? "," : "", (long long)curves->epoch[p]);
    putc(']', out);
    for (int a = 0; a < ARRAYS; a += 2) {
        fprintf(out, ",\n\"%s\":{", arrays[a].kind);
        write_array(out, curves, a);
        putc(',', out);
        write_array(out, curves, a + 1);
        putc('}', out);
    }
    fputs("}\n", out);
}

/* Columns have the names that the records have as CSV. */
static void write_curves_csv(FILE *out, const struct curves *curves)
{
    fputs("epoch", out);
    for (int s = 0; s < curves->n_series; s++) {
        putc(',', out);
        for (const char *c = curves->pointer[s] + 1; *c; c++)
            putc(*c == '/' ? '.' : *c, out);
    }
    fputs("\r\n", out);
    for (int p = 0; p < curves->n_points; p++) {
        fprintf(out, "%lld", (long long)curves->epoch[p]);
        for (int s = 0; s < curves->n_series; s++)
            csv_write_number(out, curves_of(curves, 0, s)[p]);
        fputs("\r\n", out);
    }
}

static enum request_result curves_answer(struct request *request, struct job *job, int csv)
{
    struct curves curves = {0};
    struct request_buffer buffer;
    int64_t points;
    char *list = pointers();
    struct err *err = &request->err;
    if (!list)
        err_set(err, ERR_NO_MEMORY, "no memory for a spectrum");
    if (!list ||
        request_query_int(request, "points", 1, CURVES_POINTS_MAX, SPECTRUM_POINTS, &points, err) ||
        curves_read(request->reader, &job, 1, list, job->epoch > 0 ? job->epoch : 0, (int)points,
                    &curves, err)) {
        request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        if (csv)
            write_curves_csv(buffer.out, &curves);
        else
            write_curves(buffer.out, job, &curves);
        request_close_reply(request, &buffer, 200, csv ? CSV_TYPE : MEDIA_JSON);
        csv_vary(request);
    }
    free(list);
    curves_free(&curves);
    return REQUEST_DONE;
}

/* ---- every token at a snapshot ---- */

/* The file's numbers, exactly vocab of them (malloc). */
static float *read_snapshot(struct request *request, const struct job *job, int64_t epoch,
                            int vocab, struct err *err)
{
    char path[DATA_PATH_MAX];
    float *logp = malloc(((size_t)vocab + 1) * sizeof *logp);
    if (!logp) {
        err_set(err, ERR_NO_MEMORY, "no memory for %d tokens", vocab);
        return NULL;
    }
    FILE *file = NULL;
    if (data_path(&request->server->settings, path, sizeof path, err,
                  "jobs/%s/model/spectrum-%07lld.f32", job->id, (long long)epoch) == 0 &&
        !(file = fopen(path, "rbe")) && errno != ENOENT)
        err_set_errno(err, ERR_IO, "cannot read the spectrum of job %s", job->id);
    else if (!file && err->code == ERR_NONE)
        err_set(err, ERR_NOT_FOUND,
                "there is no spectrum of epoch %lld: only of the epochs in train.snapshots and of "
                "the last, once they were reached",
                (long long)epoch);
    else if (file && fread(logp, sizeof *logp, (size_t)vocab + 1, file) != (size_t)vocab)
        err_set(err, ERR_CORRUPT, "the spectrum of epoch %lld has not %d numbers", (long long)epoch,
                vocab);
    if (file)
        fclose(file);
    if (err->code == ERR_NONE)
        return logp;
    free(logp);
    return NULL;
}

static void write_snapshot(FILE *out, const struct job *job, int64_t epoch,
                           const struct dataset *text, const float *logp)
{
    const int vocab = text->frequency.vocab;
    fprintf(out, "{\"job\":\"%s\",\"epoch\":%lld,\"ids\":[", job->id, (long long)epoch);
    for (int v = 0; v < vocab; v++)
        fprintf(out, "%s%d", v ? "," : "", dataset_original(text, v));
    fputs("],\n\"counts\":[", out);
    for (int v = 0; v < vocab; v++)
        fprintf(out, "%s%lld", v ? "," : "", (long long)text->frequency.counts[v]);
    fputs("],\n\"logp\":[", out);
    for (int v = 0; v < vocab; v++) {
        fputs(v ? "," : "", out);
        record_print_number(out, (double)logp[v]);
    }
    fputs("]}\n", out);
}

static void write_snapshot_csv(FILE *out, const struct dataset *text, const float *logp)
{
    fputs("id,count,logp\r\n", out);
    for (int v = 0; v < text->frequency.vocab; v++) {
        fprintf(out, "%d,%lld", dataset_original(text, v), (long long)text->frequency.counts[v]);
        csv_write_number(out, (double)logp[v]);
        fputs("\r\n", out);
    }
}

static enum request_result snapshot_answer(struct request *request, const struct job *job, int csv)
{
    struct spec *spec = NULL;
    struct datasets_use text;
    float *logp = NULL;
    FILE *out = NULL;
    int64_t epoch;
    struct err *err = &request->err;
    if (request_query_int(request, "epoch", 0, job->epochs, job->epochs, &epoch, err) ||
        spec_parse(job->spec, strlen(job->spec), &spec, err) ||
        datasets_get(request->server->datasets, spec, &text, err)) {
        spec_free(spec);
        return request_fail(request, err);
    }
    const int vocab = text.text->frequency.vocab;
    if ((logp = read_snapshot(request, job, epoch, vocab, err)) &&
        (out = large_reply_open(request, (int64_t)vocab * SPECTRUM_TOKEN_BYTES, err))) {
        if (csv)
            write_snapshot_csv(out, text.text, logp);
        else
            write_snapshot(out, job, epoch, text.text, logp);
        large_reply_send(request, out, csv ? CSV_TYPE : MEDIA_JSON);
        csv_vary(request);
    } else {
        request_fail(request, err);
    }
    free(logp);
    datasets_release(request->server->datasets, &text);
    spec_free(spec);
    return REQUEST_DONE;
}

enum request_result api_spectrum(struct request *request)
{
    struct job *job = NULL;
    int csv = 0;
    if (csv_wanted(request, &csv, &request->err) ||
        job_get(request->reader, request->params[0], &job, &request->err))
        return request_fail(request, &request->err);
    if (request_query(request, "epoch"))
        snapshot_answer(request, job, csv);
    else
        curves_answer(request, job, csv);
    job_free(job);
    return REQUEST_DONE;
}
