/* findings: GET /jobs/{id}/findings. The claims of the study, judged from the records of
 * a job and of the jobs that repeat it under other seeds: the jobs named by ?with=ID,ID;
 * without it the jobs of the same sweep that have as many epochs; otherwise the job alone
 * ("in this run").
 *
 * The route table calls api_findings on a pool thread with that thread's database reader.
 * Each request reads the stored records anew; nothing is cached. A question owns its jobs
 * and specs and borrows their texts from server/datasets until question_free. */
#include "server/api/findings.h"

#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/findings.h"
#include "server/datasets.h"
#include "server/http/client.h"
#include "server/queue/divergence.h"

/* A job with its parsed spec and its text. Closed by repeat_close. */
struct repeat {
    struct job *job;
    struct spec *spec;
    struct datasets_use text;
    int has_text; /* 1: text must be released */
};

/* The runs that are judged together; repeat[0] is the job of the path. */
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
    if (client_check(request, err) || job_get(request->reader, id, &repeat->job, err) ||
        spec_parse(repeat->job->spec, strlen(repeat->job->spec), &repeat->spec, err) ||
        datasets_get(request->server->datasets, repeat->spec, &repeat->text, err))
        return -1;
    repeat->has_text = 1;
    if (repeat->job->epoch < 0)
        return err_set(err, ERR_CONFLICT, "job %s is %s and has no records yet", id,
                       job_state_name(repeat->job->state));
    return 0;
}

/* The next string of a JSON array of pointers, as spec_diff prints it, cut out in place;
 * NULL: none. */
static char *next_pointer(char **at)
{
    char *start = strchr(*at, '"'), *end = start ? strchr(start + 1, '"') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return start + 1;
}

/* Runs with equal seeds are copies, not repetitions: at least one of the three effective
 * seeds must differ from those of every earlier run. */
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

/* Runs may be averaged only if their seeds differ and nothing else does, except resources
 * and snapshots, which do not change the records. `other` is the last run of the question. */
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

/* Add the qualifying jobs of the same sweep. The rest have other settings or another last
 * epoch. */
static int question_sweep(struct request *request, struct question *question, struct err *err)
{
    const struct job *first = question->repeat[0].job;
    struct job **mates = NULL;
    int n = 0, result = 0;
    if (job_of_sweep(request->reader, first->sweep, &mates, &n, err))
        return -1;
    for (int i = 0; i < n; i++) {
        struct err unfit = ERR_INIT;
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

struct reading {
    struct request *request;
    struct findings_run *run;
};

static int findings_row(void *self, int64_t epoch, const double *values, int n_values,
                        const float *tokens, int n_tokens)
{
    const struct reading *reading = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    if (client_gave_up_at(reading->request, epoch))
        return 1;
    findings_take(reading->run, epoch, values);
    return 0;
}

static int question_read(struct request *request, struct question *question, struct err *err)
{
    question->runs = calloc((size_t)question->n, sizeof *question->runs);
    if (!question->runs)
        return err_set(err, ERR_NO_MEMORY, "no memory for the findings of %d runs", question->n);
    for (int i = 0; i < question->n; i++) {
        const struct repeat *repeat = &question->repeat[i];
        struct reading reading = {request, &question->runs[i]};
        findings_open(&question->runs[i], repeat->spec, &repeat->text.text->frequency,
                      &repeat->text.groups, repeat->job->epoch, repeat->text.steps_per_epoch);
        if (epochs_read(request->reader, repeat->job->id, 0, repeat->job->epoch, findings_row,
                        &reading, err) ||
            client_check(request, err))
            return -1;
    }
    return 0;
}

/* ---- the answer ---- */

static void write_number(struct emit *json, const struct findings_number *number)
{
    emit_object(json, NULL);
    emit_text(json, "id", number->id);
    emit_text(json, "what", number->what);
    emit_integer(json, "runs", number->measured.n);
    emit_number(json, "value", number->measured.mean);
    emit_number(json, "sd", number->measured.sd);
    emit_number(json, "half", number->measured.half);
    emit_number(json, "closed_form", number->closed);
    emit_text(json, "form", number->form);
    emit_number(json, "low", number->low);
    emit_number(json, "high", number->high);
    emit_text(json, "verdict", findings_verdict_name(number->verdict));
    emit_end(json);
}

static void write_finding(struct emit *json, const struct finding *finding)
{
    emit_object(json, NULL);
    emit_text(json, "id", finding->id);
    emit_text(json, "section", finding->section);
    emit_text(json, "claim", finding->sentence);
    emit_text(json, "verdict", findings_verdict_name(finding->verdict));
    emit_text(json, "measured", finding->measured);
    emit_text(json, "cause", finding->cause[0] ? finding->cause : NULL);
    emit_text(json, "rule", finding->rule);
    emit_array(json, "numbers");
    for (int i = 0; i < finding->n; i++)
        write_number(json, &finding->number[i]);
    emit_end(json);
    emit_end(json);
}

static void write_runs(struct emit *json, const struct question *question)
{
    emit_array(json, "runs");
    for (int i = 0; i < question->n; i++) {
        emit_object(json, NULL);
        emit_text(json, "job", question->repeat[i].job->id);
        emit_integer(json, "seed", question->repeat[i].spec->train.seed);
        emit_end(json);
    }
    emit_end(json);
}

static void write_answer(struct emit *json, const struct question *question)
{
    struct finding findings[FINDINGS_CLAIMS];
    const struct job *job = question->repeat[0].job;
    char diverged[FINDINGS_TEXT];
    findings_judge(question->runs, question->n, findings);
    for (int i = 0; i < question->n; i++)
        if (divergence_of(question->repeat[i].job, diverged, sizeof diverged))
            divergence_unjudge(findings, diverged);
    emit_object(json, NULL);
    emit_text(json, "job", job->id);
    emit_integer(json, "epoch", job->epoch);
    emit_integer(json, "epochs", job->epochs);
    emit_integer(json, "end_from", question->runs[0].end_from);
    write_runs(json, question);
    emit_number(json, "margin", FINDINGS_MARGIN);
    emit_number(json, "near", FINDINGS_NEAR);
    emit_array(json, "findings");
    for (int c = 0; c < FINDINGS_CLAIMS; c++)
        write_finding(json, &findings[c]);
    emit_end(json);
    emit_end(json);
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
        write_answer(&buffer.json, question);
        result = request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    question_free(request, question);
    return result;
}
