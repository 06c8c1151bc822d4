/* api_findings: GET /jobs/{id}/findings: the study's claims judged from a job's
 * records together with those of the jobs that repeat it under other seeds: the
 * ones that ?with=ID,ID names, else those of its sweep that got as far; alone
 * ("in this run") where there are none. Everything is computed from the stored
 * records at the time of asking. Pool. */
#include "server/api/findings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/findings.h"
#include "server/datasets.h"
#include "server/json.h"

/* A job with what its records are read against. */
struct repeat {
    struct job *job;
    struct spec *spec;
    struct datasets_use text;
    int has_text;
};

struct question {
    struct repeat repeat[FINDINGS_RUNS_MAX];
    int n;
    struct findings_run *runs; /* [n] */
};

static void repeat_close(struct request *request, struct repeat *repeat)
{
    if (repeat->has_text)
        datasets_release(request->server->datasets, &repeat->text);
    spec_free(repeat->spec);
    job_free(repeat->job);
    *repeat = (struct repeat){0};
}

static void question_free(struct request *request, struct question *question)
{
    for (int i = 0; i < question->n; i++)
        repeat_close(request, &question->repeat[i]);
    free(question->runs);
    free(question);
}

static int repeat_open(struct request *request, const char *id, struct question *question,
                       struct err *err)
{
    struct repeat *repeat = &question->repeat[question->n++];
    if (job_get(request->reader, id, &repeat->job, err) ||
        spec_parse(repeat->job->spec, strlen(repeat->job->spec), &repeat->spec, err) ||
        datasets_get(request->server->datasets, repeat->spec, &repeat->text, err))
        return -1;
    repeat->has_text = 1;
    if (repeat->job->epoch < 0)
        return err_set(err, ERR_CONFLICT, "job %s is %s and has no records yet", id,
                       job_state_name(repeat->job->state));
    return 0;
}

/* The next pointer in a JSON array of them, as spec_diff writes it; NULL: none. */
static char *next_pointer(char **at)
{
    char *start = strchr(*at, '"'), *end = start ? strchr(start + 1, '"') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return start + 1;
}

/* Two runs of the same draws are one: no run has all of its seeds, followed or
 * named, from one before it. */
static int check_seeds(const struct question *question, const struct repeat *other, struct err *err)
{
    const uint64_t weights = spec_seed_weights(other->spec), data = spec_seed_data(other->spec),
                   of_groups = spec_seed_groups(other->spec);
    for (const struct repeat *taken = question->repeat; taken < other; taken++) {
        if (strcmp(taken->job->id, other->job->id) == 0)
            return err_field(err, "with", "job %s is named twice", other->job->id);
        if (spec_seed_weights(taken->spec) == weights && spec_seed_data(taken->spec) == data &&
            spec_seed_groups(taken->spec) == of_groups)
            return err_field(err, "with",
                             "job %s has the same seeds as job %s: weights %llu, data %llu, "
                             "groups %llu",
                             other->job->id, taken->job->id, (unsigned long long)weights,
                             (unsigned long long)data, (unsigned long long)of_groups);
    }
    return 0;
}

/* Runs that may be averaged differ in their seeds, and do differ; where they ran
 * does not matter. `other` is the last of the question. */
static int check_repeat(const struct question *question, const struct repeat *other,
                        struct err *err)
{
    const struct repeat *first = &question->repeat[0];
    char *diff = spec_diff(first->spec, other->spec), *at = diff, *pointer;
    int bad = 0;
    if (!diff)
        return err_set(err, ERR_NO_MEMORY, "no memory to compare two specs");
    while ((pointer = next_pointer(&at)))
        if (strncmp(pointer, "/train/seed", 11) != 0 && strncmp(pointer, "/resources/", 11) != 0 &&
            strcmp(pointer, "/train/snapshots") != 0)
            bad = err_field(err, "with", "job %s is another experiment: it differs in %s",
                            other->job->id, pointer);
    if (!bad)
        bad = check_seeds(question, other, err);
    if (other->job->epoch != first->job->epoch)
        bad = err_field(err, "with", "job %s has records up to epoch %lld, job %s up to %lld",
                        other->job->id, (long long)other->job->epoch, first->job->id,
                        (long long)first->job->epoch);
    free(diff);
    return bad;
}

static int question_with(struct request *request, struct question *question, struct err *err)
{
    const char *list = request_query(request, "with");
    char *text = list && *list ? strdup(list) : NULL, *at = text, *id;
    int result = 0;
    if (list && *list && !text)
        return err_set(err, ERR_NO_MEMORY, "no memory for a list of jobs");
    while (at && !result && (id = strsep(&at, ","))) {
        if (question->n == FINDINGS_RUNS_MAX)
            result = err_field(err, "with", "more than %d jobs together", FINDINGS_RUNS_MAX);
        else
            result = repeat_open(request, id, question, err) ||
                             check_repeat(question, &question->repeat[question->n - 1], err)
                         ? -1
                         : 0;
    }
    free(text);
    return result;
}

/* Jobs of the same sweep that qualify; the others are other settings, or not there yet. */
static int question_sweep(struct request *request, struct question *question, struct err *err)
{
    const struct job *first = question->repeat[0].job;
    struct job **mates = NULL;
    int n = 0, result = 0;
    if (job_of_sweep(request->reader, first->sweep, &mates, &n, err))
        return -1;
    for (int i = 0; i < n; i++) {
        struct err unfit;
        err_clear(&unfit);
        const int is_wanted = !result && question->n < FINDINGS_RUNS_MAX &&
                              strcmp(mates[i]->id, first->id) != 0 &&
                              mates[i]->epoch == first->epoch;
        if (is_wanted)
            result = repeat_open(request, mates[i]->id, question, err);
        if (is_wanted && !result &&
            check_repeat(question, &question->repeat[question->n - 1], &unfit))
            repeat_close(request, &question->repeat[--question->n]);
        job_free(mates[i]);
    }
    free(mates);
    return result;
}

static int question_others(struct request *request, struct question *question, struct err *err)
{
    if (request_query(request, "with"))
        return question_with(request, question, err);
    return question->repeat[0].job->sweep ? question_sweep(request, question, err) : 0;
}

static int findings_row(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    (void)n_values, (void)tokens, (void)n_tokens;
    findings_take(self, epoch, values);
    return 0;
}

static int question_read(struct request *request, struct question *question, struct err *err)
{
    question->runs = calloc((size_t)question->n, sizeof *question->runs);
    if (!question->runs)
        return err_set(err, ERR_NO_MEMORY, "no memory for the findings of %d runs", question->n);
    for (int i = 0; i < question->n; i++) {
        const struct repeat *repeat = &question->repeat[i];
        findings_open(&question->runs[i], repeat->spec, &repeat->text.text->frequency,
                      &repeat->text.groups, repeat->job->epoch, repeat->text.steps_per_epoch);
        if (epochs_read(request->reader, repeat->job->id, 0, repeat->job->epoch, findings_row,
                        &question->runs[i], err))
            return -1;
    }
    return 0;
}

/* ---- the answer ---- */

static void write_number(FILE *out, const char *name, double value)
{
    fprintf(out, ",\"%s\":", name);
    record_print_number(out, value);
}

static void write_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    json_write_string(out, text);
}

static void write_finding(FILE *out, const struct finding *finding)
{
    fprintf(out, "{\"id\":\"%s\",\"section\":\"%s\"", finding->id, finding->section);
    write_text(out, "claim", finding->sentence);
    write_text(out, "verdict", findings_verdict_name(finding->verdict));
    write_text(out, "measured", finding->measured);
    write_text(out, "cause", finding->cause[0] ? finding->cause : NULL);
    write_text(out, "rule", finding->rule);
    fputs(",\"numbers\":[", out);
    for (int i = 0; i < finding->n; i++) {
        const struct findings_number *number = &finding->number[i];
        fprintf(out, "%s\n  {\"id\":\"%s\"", i ? "," : "", number->id);
        write_text(out, "what", number->what);
        fprintf(out, ",\"runs\":%d", number->measured.n);
        write_number(out, "value", number->measured.mean);
        write_number(out, "sd", number->measured.sd);
        write_number(out, "half", number->measured.half);
        write_number(out, "closed_form", number->closed);
        write_text(out, "form", number->form);
        write_number(out, "low", number->low);
        write_number(out, "high", number->high);
        write_text(out, "verdict", findings_verdict_name(number->verdict));
        putc('}', out);
    }
    fputs("]}", out);
}

static void write_answer(FILE *out, const struct question *question)
{
    struct finding findings[FINDINGS_CLAIMS];
    const struct job *job = question->repeat[0].job;
    findings_judge(question->runs, question->n, findings);
    fprintf(out, "{\"job\":\"%s\",\"epoch\":%lld,\"epochs\":%lld,\"end_from\":%lld,\"runs\":[",
            job->id, (long long)job->epoch, (long long)job->epochs,
            (long long)question->runs[0].end_from);
    for (int i = 0; i < question->n; i++)
        fprintf(out, "%s{\"job\":\"%s\",\"seed\":%lld}", i ? "," : "", question->repeat[i].job->id,
                (long long)question->repeat[i].spec->train.seed);
    fprintf(out, "],\"margin\":%g,\"near\":%g,\"findings\":[", FINDINGS_MARGIN, FINDINGS_NEAR);
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        fputs(c ? ",\n" : "\n", out);
        write_finding(out, &findings[c]);
    }
    fputs("]}\n", out);
}

enum request_result api_findings(struct request *request)
{
    struct request_buffer buffer;
    struct err *err = &request->err;
    struct question *question = calloc(1, sizeof *question);
    enum request_result result = REQUEST_DONE;
    if (!question) {
        err_set(err, ERR_NO_MEMORY, "no memory for findings");
        return request_fail(request, err);
    }
    if (repeat_open(request, request->params[0], question, err) ||
        question_others(request, question, err) || question_read(request, question, err)) {
        result = request_fail(request, err);
    } else if (!request_open(request, &buffer)) {
        write_answer(buffer.out, question);
        result = request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    question_free(request, question);
    return result;
}
