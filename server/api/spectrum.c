/* spectrum: GET /jobs/{id}/spectrum. Mean log p as a function of how often tokens occur:
 * count classes over epochs, from the records; or, with ?epoch=, every token of the
 * vocabulary at a snapshot, from the file that the trainer stored next to the model. As
 * JSON or CSV.
 *
 * The route table calls api_spectrum on a pool thread with that thread's database reader.
 * A request owns its curves or its mapped file and frees them before it returns. The map
 * is safe to read: the trainer replaces these files atomically and never truncates them. */
#include "server/api/spectrum.h"

#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/file.h"
#include "config/record.h"
#include "config/spec.h"
#include "db/jobs.h"
#include "lab/frequency.h"
#include "server/api/curves.h"
#include "server/api/model_file.h"
#include "server/data.h"
#include "server/datasets.h"
#include "server/http/csv.h"

enum { SPECTRUM_POINTS = 200 }; /* of a curve, unless the client asks for another number */

/* The arrays of a record that form a spectrum, in the order of the answer: log p and number
 * of tokens of one kind lie next to each other. */
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

/* The record pointers of all arrays as one list (pointers.h), malloc; NULL without memory. */
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

static void write_classes(struct emit *json)
{
    emit_array(json, "classes");
    for (int c = 0; c < FREQUENCY_CLASSES; c++) {
        emit_object(json, NULL);
        emit_integer(json, "from", frequency_class_from[c]);
        if (c + 1 < FREQUENCY_CLASSES)
            emit_integer(json, "to", frequency_class_from[c + 1] - 1);
        else
            emit_null(json, "to");
        emit_end(json);
    }
    emit_end(json);
}

/* One array of points for each count class. */
static void write_array(struct emit *json, const struct curves *curves, int array)
{
    emit_array(json, arrays[array].what);
    for (int c = 0; c < FREQUENCY_CLASSES; c++) {
        const double *values = curves_of(curves, 0, array * FREQUENCY_CLASSES + c);
        emit_array(json, NULL);
        for (int p = 0; p < curves->n_points; p++)
            emit_number(json, NULL, values[p]);
        emit_end(json);
    }
    emit_end(json);
}

static void write_curves(struct emit *json, const struct job *job, const struct curves *curves)
{
    emit_object(json, NULL);
    emit_text(json, "job", job->id);
    write_classes(json);
    emit_array(json, "epochs");
    for (int p = 0; p < curves->n_points; p++)
        emit_integer(json, NULL, curves->epoch[p]);
    emit_end(json);
    for (int a = 0; a < ARRAYS; a += 2) {
        emit_object(json, arrays[a].kind);
        write_array(json, curves, a);
        write_array(json, curves, a + 1);
        emit_end(json);
    }
    emit_end(json);
}

/* Column names equal those of the records' CSV (record_print_csv_header). */
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
        curves_read(request, &job, 1, list, job->epoch > 0 ? job->epoch : 0, (int)points, &curves,
                    err)) {
        request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        if (csv)
            write_curves_csv(buffer.out, &curves);
        else
            write_curves(&buffer.json, job, &curves);
        request_close_reply(request, &buffer, 200, csv ? CSV_TYPE : MEDIA_JSON);
        csv_vary(request);
    }
    free(list);
    curves_free(&curves);
    return REQUEST_DONE;
}

/* ---- every token at a snapshot ---- */

/* Map the file of a snapshot: exactly vocab float32 numbers. file_map_close unmaps. */
static int open_snapshot(struct request *request, const struct job *job, int64_t epoch, int vocab,
                         struct file_map *out, struct err *err)
{
    char path[DATA_PATH_MAX];
    struct file_map map;
    if (model_file_find(&request->server->settings, job, MODEL_FILE_SPECTRUM, epoch, path, err))
        return -1;
    if (file_map_open(path, &map, err))
        return err_set(err, err->code, "cannot read the spectrum of epoch %lld", (long long)epoch);
    if (map.n != (size_t)vocab * sizeof(float)) {
        file_map_close(&map);
        return err_set(err, ERR_CORRUPT, "the spectrum of epoch %lld has not %d numbers",
                       (long long)epoch, vocab);
    }
    *out = map;
    return 0;
}

static void write_snapshot(struct emit *json, const struct job *job, int64_t epoch,
                           const struct dataset *text, const float *logp)
{
    const int vocab = text->frequency.vocab;
    emit_object(json, NULL);
    emit_text(json, "job", job->id);
    emit_integer(json, "epoch", epoch);
    emit_array(json, "ids");
    for (int v = 0; v < vocab; v++)
        emit_integer(json, NULL, dataset_original(text, v));
    emit_end(json);
    emit_array(json, "counts");
    for (int v = 0; v < vocab; v++)
        emit_integer(json, NULL, text->frequency.counts[v]);
    emit_end(json);
    emit_array(json, "logp");
    for (int v = 0; v < vocab; v++)
        emit_float(json, NULL, logp[v]);
    emit_end(json);
    emit_end(json);
}

static void write_snapshot_csv(FILE *out, const struct dataset *text, const float *logp)
{
    fputs("id,count,logp\r\n", out);
    for (int v = 0; v < text->frequency.vocab; v++) {
        fprintf(out, "%d,%lld", dataset_original(text, v), (long long)text->frequency.counts[v]);
        csv_write_float(out, logp[v]);
        fputs("\r\n", out);
    }
}

/* Answer with the numbers logp[vocab] of a snapshot: some 3 MB at most, made in memory. In
 * pieces a slow client would keep the map and the text in use for as long. */
static enum request_result snapshot_reply(struct request *request, const struct job *job,
                                          int64_t epoch, const struct dataset *text,
                                          const float *logp, int csv)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (csv)
        write_snapshot_csv(buffer.out, text, logp);
    else
        write_snapshot(&buffer.json, job, epoch, text, logp);
    request_close_reply(request, &buffer, 200, csv ? CSV_TYPE : MEDIA_JSON);
    csv_vary(request);
    return REQUEST_DONE;
}

static enum request_result snapshot_answer(struct request *request, const struct job *job, int csv)
{
    struct spec *spec = NULL;
    struct datasets_use text;
    struct file_map map = {0};
    int64_t epoch;
    struct err *err = &request->err;
    if (request_query_int(request, "epoch", 0, job->epochs, job->epochs, &epoch, err) ||
        spec_parse(job->spec, strlen(job->spec), &spec, err) ||
        datasets_get(request->server->datasets, spec, &text, err)) {
        spec_free(spec);
        return request_fail(request, err);
    }
    if (open_snapshot(request, job, epoch, text.text->frequency.vocab, &map, err))
        request_fail(request, err);
    else
        snapshot_reply(request, job, epoch, text.text, map.bytes, csv);
    file_map_close(&map);
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
