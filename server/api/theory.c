/* theory: GET /jobs/{id}/theory. The closed forms of SCIENCE section 3 for one job, next
 * to its measurements: levels of the whole model, of each group and of each count class,
 * and curves over epochs with the measured series at the same epochs.
 *
 * The route table calls api_theory on a pool thread with that thread's database reader.
 * Each request computes all numbers from the spec, the counts and the records; nothing
 * is cached. The request borrows counts and groups from server/datasets until it has
 * answered. Invariant: an undefined number is NaN here and null in the answer. */
#include "server/api/theory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/record.h"
#include "config/record_grid.h"
#include "config/spec.h"
#include "db/epochs.h"
#include "db/jobs.h"
#include "lab/clusters.h"
#include "lab/theory.h"
#include "server/datasets.h"
#include "server/http/client.h"

enum {
    THEORY_POINTS = 500, /* of a curve, unless asked for others */
    THEORY_POINTS_MAX = 5000,
    THEORY_EARLY_STEPS = 30 /* updates for which form 3.5 is drawn */
};

struct theory {
    struct request *request;
    const struct spec *spec;
    const struct frequency *frequency;
    const struct groups *groups;
    int64_t steps_per_epoch;
    int64_t last;                 /* last stored epoch; -1: none */
    int64_t stride;               /* epochs between two points */
    double *optimum;              /* [V] */
    double *predicted, *measured; /* [curves][groups][points_max] */
    int64_t n_points, points_max;
    double *start; /* [curves][groups] measured at epoch 0 */
    /* State at the current epoch: number of updates before it, and the sums of
     * theory_sgd_pull and theory_adam_logit_step over these updates. */
    int64_t steps;
    double sgd_pull, adam_fall;
    int turned[SPEC_GROUPS_MAX]; /* 1: an earlier update pushed the group up */
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

/* `source` is the origin of the form, as stated in the contracts of lab/theory.h. */
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

/* Open the object of a level or a curve with its common members. */
static void write_form(struct emit *json, const char *form, const char *id, const char *what,
                       const char *source)
{
    emit_object(json, NULL);
    emit_text(json, "form", form);
    emit_text(json, "id", id);
    emit_text(json, "what", what);
    emit_text(json, "source", source);
}

static void write_levels(struct emit *json, const struct theory *t)
{
    emit_array(json, "levels");
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        write_form(json, levels[i].form, levels[i].id, levels[i].what, levels[i].source);
        emit_number(json, "value", levels[i].value(t));
        emit_end(json);
    }
    emit_end(json);
}

/* One object for each softmax of the output layer; the full head has one. */
static void write_clusters(struct emit *json, const struct theory *t)
{
    struct clusters clusters;
    clusters_of(t->spec, t->frequency->vocab, &clusters);
    emit_array(json, "clusters");
    for (int k = 0; k < clusters.n; k++) {
        const struct cluster *cluster = &clusters.cluster[k];
        const double level = theory_untrained_cluster(t->spec, t->frequency->vocab, k);
        emit_object(json, NULL);
        emit_integer(json, "first_rank", cluster->first);
        emit_integer(json, "tokens", cluster->tokens);
        emit_integer(json, "outputs", cluster->outputs);
        emit_integer(json, "width", cluster->width);
        emit_number(json, "untrained", level);
        emit_number(json, "break_even_count", theory_break_even(level, t->frequency));
        emit_end(json);
    }
    emit_end(json);
}

static void write_groups(struct emit *json, const struct theory *t)
{
    emit_object(json, "groups");
    for (int g = 0; g < t->groups->n; g++) {
        const struct group *group = &t->groups->group[g];
        emit_object(json, group->name);
        emit_integer(json, "tokens", group->n);
        emit_number(json, "untrained", theory_untrained_group(t->spec, group, t->frequency));
        emit_number(json, "context_free", theory_context_free(group, t->frequency));
        emit_number(json, "mass", theory_mass(group, t->frequency));
        emit_number(json, "optimum", theory_group_mean(group, t->optimum));
        emit_end(json);
    }
    emit_end(json);
}

/* Means over the types of each count class. */
static void write_classes(struct emit *json, const struct theory *t)
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
    emit_array(json, "classes");
    for (int at = 0; at < FREQUENCY_CLASSES; at++) {
        emit_object(json, NULL);
        emit_integer(json, "from", frequency_class_from[at]);
        emit_integer(json, "types", types[at]);
        emit_number(json, "context_free", types[at] ? context_free[at] / types[at] : NAN);
        emit_number(json, "optimum", types[at] ? optimum[at] / types[at] : NAN);
        emit_end(json);
    }
    emit_end(json);
}

/* ---- curves ---- */

/* 1 if training never shows a token of the group: no token of the group occurs in the
 * training text or is injected into it. */
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

/* Form 3.5 holds early only: the signs of mean h persist for some dozen updates, and
 * Adam's second moment grows. */
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

/* A curve exists for each group that it applies to. `at` computes its value at the
 * current epoch from `start`, the value measured at epoch 0. */
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
    if (client_gave_up_at(t->request, epoch))
        return 1;
    t->steps = epoch * t->steps_per_epoch;
    if (epoch % t->stride == 0 || epoch == t->last)
        theory_point(t, epoch, values);
    /* A record measures mean h on its epoch's first batch only; use it for all updates until the
     * next one. */
    const struct record_grid grid = {t->spec->train.record_every, t->spec->train.epochs};
    const double n = (double)((record_grid_from(grid, epoch + 1) - epoch) * t->steps_per_epoch);
    t->sgd_pull += n * theory_sgd_pull(t->spec, values[RECORD_H_NORM]);
    t->adam_fall += n * theory_adam_logit_step(t->spec, values[RECORD_H_L1]);
    for (int g = 0; g < t->groups->n; g++)
        t->turned[g] |= !theory_adam_pushes_down(t->spec, t->frequency->vocab,
                                                 values[record_at(g, RECORD_MEAN_LOGP_NONE)],
                                                 values[RECORD_LOG_Z]);
    return 0;
}

static void write_epochs(struct emit *json, const struct theory *t)
{
    emit_array(json, "epochs");
    for (int64_t i = 0; i < t->n_points; i++)
        emit_integer(json, NULL, i == t->n_points - 1 ? t->last : i * t->stride);
    emit_end(json);
}

static void write_series(struct emit *json, const char *key, const double *points, int64_t n)
{
    emit_array(json, key);
    for (int64_t i = 0; i < n; i++)
        emit_number(json, NULL, points[i]);
    emit_end(json);
}

static void write_curve(struct emit *json, const struct theory *t, int c, int g)
{
    const struct curve *curve = &curves[c];
    write_form(json, curve->form, curve->id, curve->what, curve->source);
    emit_text(json, "group", t->groups->group[g].name);
    emit_text(json, "quantity", record_field_pointer(curve->field) + 1);
    write_epochs(json, t);
    write_series(json, "predicted", theory_points(t, t->predicted, c, g), t->n_points);
    write_series(json, "measured", theory_points(t, t->measured, c, g), t->n_points);
    emit_end(json);
}

static void write_curves(struct emit *json, const struct theory *t)
{
    emit_array(json, "curves");
    for (int c = 0; c < CURVES; c++)
        for (int g = 0; g < t->groups->n; g++)
            if (curves[c].applies(t, g))
                write_curve(json, t, c, g);
    emit_end(json);
}

/* ---- the answer ---- */

/* The optimum follows from the counts only if the targets do; otherwise it is NaN. */
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
    const int64_t every = t->spec->train.record_every;
    const int64_t stride = t->last >= points ? (t->last + points - 1) / points : 1;
    t->stride = (stride + every - 1) / every * every; /* such epochs have records */
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
    if (request->abandoned || request_open(request, &buffer))
        return REQUEST_DONE;
    struct emit *json = &buffer.json;
    emit_object(json, NULL);
    emit_text(json, "job", job->id);
    if (t->last >= 0)
        emit_integer(json, "epoch", t->last);
    else
        emit_null(json, "epoch");
    write_levels(json, t);
    write_clusters(json, t);
    write_groups(json, t);
    write_classes(json, t);
    write_curves(json, t);
    emit_end(json);
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
    t = (struct theory){.request = request,
                        .spec = spec,
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
