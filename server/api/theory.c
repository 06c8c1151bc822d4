/* api_theory: the closed forms of SCIENCE section 3 for one job, beside what it
 * measured: levels of the whole model, levels of each group and count class, and
 * curves over epochs with the measured series at the same epochs. Every number is
 * computed from spec, counts and records at the time of asking. Pool. */
#include "server/api/theory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/record.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/clusters.h"
#include "lab/theory.h"
#include "server/datasets.h"
#include "server/json.h"
#include "server/http/large_reply.h"

enum {
    THEORY_POINTS = 500, /* of a curve, unless asked for others */
    THEORY_POINTS_MAX = 5000,
    THEORY_EARLY_STEPS = 30 /* updates for which form 3.5 is drawn */
};

struct theory {
    const struct spec *spec;
    const struct frequency *frequency;
    const struct groups *groups;
    int64_t steps_per_epoch;
    int64_t last;      /* last stored epoch, -1 = none */
    int64_t stride;    /* every so many epochs is a point */
    double *optimum;   /* [V] */
    double *predicted; /* [curves][groups][points] */
    double *measured;
    int64_t n_points, points_max;
    /* of the epoch at hand: updates before it, and the sums over them of what a
     * token that is never a target is pulled down by */
    int64_t steps;
    double sgd_pull, adam_fall;
    int turned[SPEC_GROUPS_MAX]; /* 1: an update before has pushed the group up */
    double *start;               /* [curves][groups] measured at epoch 0 */
};

/* ---- levels ---- */

static double level_untrained(const struct theory *t)
{
    return theory_untrained(t->spec, t->frequency->vocab);
}

static double level_logit_std(const struct theory *t)
{
    return theory_logit_std(t->spec);
}

static double level_entropy(const struct theory *t)
{
    return theory_entropy(t->frequency);
}

static double level_break_even(const struct theory *t)
{
    return t->spec->model.head == HEAD_FULL ? theory_break_even(level_untrained(t), t->frequency)
                                            : NAN;
}

static double level_types_below(const struct theory *t)
{
    return theory_types_below_start(t->spec, t->frequency);
}

static double level_gradient_sum(const struct theory *t)
{
    return theory_gradient_sum(t->spec);
}

/* `source` is where the form comes from, as the contracts in lab/theory.h have it. */
static const struct level {
    const char *form, *id, *what, *source;
    double (*value)(const struct theory *t);
} levels[] = {
    {"3.1", "untrained", "mean log p of every token before training",
     "derived: log-normal partition function of the initial logits", level_untrained},
    {"3.1", "logit_std", "standard deviation of the logits before training",
     "derived: |h|^2 = d after a layernorm", level_logit_std},
    {"3.2", "entropy", "loss of the best model without context",
     "Shannon 1948: entropy of the maximum-likelihood multinomial", level_entropy},
    {"3.2", "break_even_count", "count whose ln(c/N) is the untrained level",
     "derived: forms 3.1 and 3.2 set equal", level_break_even},
    {"3.2", "types_below", "share of the used types whose ln(c/N) lies below the untrained level",
     "derived: forms 3.1 and 3.2 compared", level_types_below},
    {"3.3", "gradient_sum",
     "norm of the output layer's gradient summed over the vocabulary, at every step: under SGD "
     "without decay the mean output row of an untied model stays where it is",
     "derived: softmax and targets both sum to one", level_gradient_sum},
};

/* The beginning of a level or a curve. */
static void write_form(FILE *out, const char *form, const char *id, const char *what,
                       const char *source)
{
    fprintf(out, "\n{\"form\":\"%s\",\"id\":\"%s\",\"what\":\"%s\",\"source\":\"%s\"", form, id,
            what, source);
}

static void write_levels(FILE *out, const struct theory *t)
{
    fputs(",\"levels\":[", out);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        fputs(i ? "," : "", out);
        write_form(out, levels[i].form, levels[i].id, levels[i].what, levels[i].source);
        fputs(",\"value\":", out);
        record_print_number(out, levels[i].value(t));
        putc('}', out);
    }
    putc(']', out);
}

static void write_number(FILE *out, const char *name, double value)
{
    fprintf(out, ",\"%s\":", name);
    record_print_number(out, value);
}

/* The softmaxes of the output layer: of the full head, one. */
static void write_clusters(FILE *out, const struct theory *t)
{
    struct clusters clusters;
    clusters_of(t->spec, t->frequency->vocab, &clusters);
    fputs(",\"clusters\":[", out);
    for (int k = 0; k < clusters.n; k++) {
        const struct cluster *cluster = &clusters.cluster[k];
        const double level = theory_untrained_cluster(t->spec, t->frequency->vocab, k);
        fprintf(out, "%s\n{\"first_rank\":%d,\"tokens\":%d,\"outputs\":%d,\"width\":%d",
                k ? "," : "", cluster->first, cluster->tokens, cluster->outputs, cluster->width);
        write_number(out, "untrained", level);
        write_number(out, "break_even_count", theory_break_even(level, t->frequency));
        putc('}', out);
    }
    putc(']', out);
}

static void write_groups(FILE *out, const struct theory *t)
{
    fputs(",\"groups\":{", out);
    for (int g = 0; g < t->groups->n; g++) {
        const struct group *group = &t->groups->group[g];
        fputs(g ? ",\n" : "\n", out);
        json_write_string(out, group->name);
        fprintf(out, ":{\"tokens\":%d", group->n);
        write_number(out, "untrained", theory_untrained_group(t->spec, group, t->frequency));
        write_number(out, "context_free", theory_context_free(group, t->frequency));
        write_number(out, "mass", theory_mass(group, t->frequency));
        write_number(out, "optimum", theory_group_mean(group, t->optimum));
        putc('}', out);
    }
    putc('}', out);
}

/* Means over the types of each count class. */
static void write_classes(FILE *out, const struct theory *t)
{
    double context_free[FREQUENCY_CLASSES] = {0}, optimum[FREQUENCY_CLASSES] = {0};
    int types[FREQUENCY_CLASSES] = {0};
    for (int i = 0; i < t->frequency->vocab; i++) {
        const int64_t count = t->frequency->counts[i];
        const int at = frequency_class(count);
        types[at]++;
        context_free[at] += count ? log((double)count / (double)t->frequency->total) : NAN;
        optimum[at] += t->optimum[i];
    }
    fputs(",\"classes\":[", out);
    for (int at = 0; at < FREQUENCY_CLASSES; at++) {
        fprintf(out, "%s\n{\"from\":%lld,\"types\":%d", at ? "," : "",
                (long long)frequency_class_from[at], types[at]);
        write_number(out, "context_free", types[at] ? context_free[at] / types[at] : NAN);
        write_number(out, "optimum", types[at] ? optimum[at] / types[at] : NAN);
        putc('}', out);
    }
    putc(']', out);
}

/* ---- curves ---- */

/* 1 if training never shows a token of the group: it occurs in no training text,
 * and is not inserted into one. */
static int group_is_unseen(const struct theory *t, int g)
{
    const struct group *group = &t->groups->group[g];
    if (groups_dose(t->spec, t->groups, g) > 0)
        return 0;
    for (int i = 0; i < group->n; i++)
        if (t->frequency->counts[group->ids[i]])
            return 0;
    return group->n > 0;
}

static int decay_applies(const struct theory *t, int g)
{
    return t->spec->model.tie != TIE_TIED && group_is_unseen(t, g) &&
           isfinite(theory_decay(t->spec, 1));
}

static double decay_at(const struct theory *t, int g, double start)
{
    (void)g;
    return start * theory_decay(t->spec, t->steps);
}

static int adam_applies(const struct theory *t, int g)
{
    return theory_adam_applies(t->spec) && group_is_unseen(t, g);
}

/* The signs of mean h keep for some dozen updates, and Adam's second moment grows. */
static double adam_at(const struct theory *t, int g, double start)
{
    return t->steps <= THEORY_EARLY_STEPS && !t->turned[g] ? start + t->adam_fall : NAN;
}

static int sgd_applies(const struct theory *t, int g)
{
    return theory_sgd_applies(t->spec) && group_is_unseen(t, g);
}

static double sgd_at(const struct theory *t, int g, double start)
{
    (void)g;
    return theory_sgd_logp(start, t->sgd_pull);
}

/* A curve exists for the groups it applies to; `at` is its value at the epoch at
 * hand, start being the measured number of epoch 0. */
static const struct curve {
    const char *form, *id, *what, *source;
    enum record_field field;
    int (*applies)(const struct theory *t, int g);
    double (*at)(const struct theory *t, int g, double start);
} curves[] = {
    {"3.4", "input_decay", "norm of input rows that are never fed: decay alone",
     "Loshchilov & Hutter 2019, algorithm 2", RECORD_INPUT_NORM, decay_applies, decay_at},
    {"3.5", "adam_logit", "mean logit of tokens that are never a target, early, under Adam",
     "Kingma & Ba 2015, algorithm 1: its first step", RECORD_MEAN_LOGIT, adam_applies, adam_at},
    {"3.6", "sgd_logp", "mean log p of tokens that are never a target, under plain SGD",
     "derived: gradient of cross-entropy with a softmax, h and log Z fixed", RECORD_MEAN_LOGP_NONE,
     sgd_applies, sgd_at},
};

enum { CURVES = sizeof curves / sizeof *curves };

static double *theory_points(const struct theory *t, double *points, int curve, int g)
{
    return points + ((int64_t)curve * t->groups->n + g) * t->points_max;
}

static void theory_point(struct theory *t, int64_t epoch, const double *values)
{
    for (int c = 0; c < CURVES; c++)
        for (int g = 0; g < t->groups->n; g++) {
            const double measured = values[record_at(g, curves[c].field)];
            double *start = &t->start[c * t->groups->n + g];
            if (epoch == 0)
                *start = measured;
            theory_points(t, t->predicted, c, g)[t->n_points] = curves[c].at(t, g, *start);
            theory_points(t, t->measured, c, g)[t->n_points] = measured;
        }
    t->n_points++;
}

static int theory_row(void *self, int64_t epoch, const double *values, int n_values,
                      const float *tokens, int n_tokens)
{
    struct theory *t = self;
    (void)n_values, (void)tokens, (void)n_tokens;
    t->steps = epoch * t->steps_per_epoch;
    if (epoch % t->stride == 0 || epoch == t->last)
        theory_point(t, epoch, values);
    /* mean h of the epoch's first batch stands for all of its updates */
    const double n = (double)t->steps_per_epoch;
    t->sgd_pull += n * theory_sgd_pull(t->spec, values[RECORD_H_NORM]);
    t->adam_fall += n * theory_adam_logit_step(t->spec, values[RECORD_H_L1]);
    for (int g = 0; g < t->groups->n; g++)
        t->turned[g] |= !theory_adam_pushes_down(t->spec, t->frequency->vocab,
                                                 values[record_at(g, RECORD_MEAN_LOGP_NONE)],
                                                 values[RECORD_LOG_Z]);
    return 0;
}

static void write_series(FILE *out, const char *name, const double *points, int64_t n)
{
    fprintf(out, ",\"%s\":[", name);
    for (int64_t i = 0; i < n; i++) {
        fputs(i ? "," : "", out);
        record_print_number(out, points[i]);
    }
    putc(']', out);
}

static void write_curves(FILE *out, const struct theory *t)
{
    int n = 0;
    fputs(",\"curves\":[", out);
    for (int c = 0; c < CURVES; c++)
        for (int g = 0; g < t->groups->n; g++) {
            const struct curve *curve = &curves[c];
            if (!curve->applies(t, g))
                continue;
            fputs(n++ ? "," : "", out);
            write_form(out, curve->form, curve->id, curve->what, curve->source);
            fputs(",\"group\":", out);
            json_write_string(out, t->groups->group[g].name);
            fprintf(out, ",\"quantity\":\"%s\",\"epochs\":[",
                    record_field_pointer(curve->field) + 1);
            for (int64_t i = 0; i < t->n_points; i++)
                fprintf(out, "%s%lld", i ? "," : "",
                        (long long)(i == t->n_points - 1 ? t->last : i * t->stride));
            putc(']', out);
            write_series(out, "predicted", theory_points(t, t->predicted, c, g), t->n_points);
            write_series(out, "measured", theory_points(t, t->measured, c, g), t->n_points);
            putc('}', out);
        }
    putc(']', out);
}

/* ---- the answer ---- */

/* Counts of the text say nothing of an optimum where targets do not follow them. */
static void theory_open_optimum(struct theory *t)
{
    const struct theory_loss loss = theory_loss_of(t->spec);
    for (int i = 0; i < t->frequency->vocab; i++)
        t->optimum[i] = NAN;
    if (theory_follows_counts(t->spec))
        theory_optimum(&loss, t->frequency, t->optimum);
}

static int theory_open(struct theory *t, int64_t points, struct err *err)
{
    t->stride = t->last >= points ? (t->last + points - 1) / points : 1;
    t->points_max = points + 1;
    const size_t n = (size_t)CURVES * (size_t)t->groups->n * (size_t)t->points_max;
    t->optimum = malloc((size_t)t->frequency->vocab * sizeof *t->optimum);
    t->predicted = malloc(n * sizeof *t->predicted);
    t->measured = malloc(n * sizeof *t->measured);
    t->start = malloc((size_t)CURVES * (size_t)t->groups->n * sizeof *t->start);
    if (!t->optimum || !t->predicted || !t->measured || !t->start)
        return err_set(err, ERR_NO_MEMORY, "no memory for the closed forms of a job");
    theory_open_optimum(t);
    return 0;
}

static enum request_result theory_answer(struct request *request, const struct job *job,
                                         struct theory *t)
{
    struct request_buffer buffer;
    if (t->last >= 0 &&
        epochs_read(request->reader, job->id, 0, t->last, theory_row, t, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fprintf(buffer.out, "{\"job\":\"%s\",\"epoch\":", job->id);
    if (t->last >= 0)
        fprintf(buffer.out, "%lld", (long long)t->last);
    else
        fputs("null", buffer.out);
    write_levels(buffer.out, t);
    write_clusters(buffer.out, t);
    write_groups(buffer.out, t);
    write_classes(buffer.out, t);
    write_curves(buffer.out, t);
    fputs("}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_theory(struct request *request)
{
    struct job *job = NULL;
    struct spec *spec = NULL;
    struct datasets_use text = {0};
    struct theory t = {0};
    int64_t points;
    struct err *err = &request->err;
    int held = 0;
    if (job_get(request->reader, request->params[0], &job, err) ||
        request_query_int(request, "points", 2, THEORY_POINTS_MAX, THEORY_POINTS, &points, err) ||
        spec_parse(job->spec, strlen(job->spec), &spec, err) ||
        datasets_get(request->server->datasets, spec, &text, err)) {
        request_fail(request, err);
        goto out;
    }
    held = 1;
    t = (struct theory){.spec = spec,
                        .frequency = &text.text->frequency,
                        .groups = &text.groups,
                        .steps_per_epoch = text.steps_per_epoch,
                        .last = job->epoch};
    if (theory_open(&t, points, err))
        request_fail(request, err);
    else
        theory_answer(request, job, &t);
out:
    free(t.optimum), free(t.predicted), free(t.measured), free(t.start);
    if (held)
        datasets_release(request->server->datasets, &text);
    spec_free(spec);
    job_free(job);
    return REQUEST_DONE;
}
