/* findings: see findings.h. Below: what is taken from a record, the numbers as a
 * table of functions of a run, the rule that turns an interval into a verdict,
 * and the words. Numbers of epoch 0 are the record's; numbers "at the end" are
 * means over the last tenth of the records, because one record is one batch. */
#include "lab/findings.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lab/theory.h"

enum { MOST, LEAST, NEVER, BUILT_IN };
enum { STUDY_VOCABULARY = 50257 }; /* the study's statements in nats are about it */

/* ---- taking records ---- */

static void add(struct findings_mean *mean, double value)
{
    if (isfinite(value)) {
        mean->sum += value;
        mean->n++;
    }
}

static double mean_of(const struct findings_mean *mean)
{
    return mean->n ? mean->sum / (double)mean->n : NAN;
}

void findings_open(struct findings_run *run, const struct spec *spec,
                   const struct frequency *frequency, const struct groups *groups, int64_t last,
                   int64_t steps_per_epoch)
{
    assert(last >= 0 && groups->n >= BUILT_IN);
    memset(run, 0, sizeof *run);
    run->spec = spec;
    run->frequency = frequency;
    run->groups = groups;
    run->last = last;
    run->end_from = last - (last + 1 >= 10 ? (last + 1) / 10 : 1) + 1;
    run->start_to = last + 1 - run->end_from;
    run->steps = last * steps_per_epoch;
    for (int mask = 0; mask < MASKS; mask++)
        for (int i = 0; i < 2; i++)
            run->before[mask][i] = run->before_alone[mask][i] = NAN;
}

/* The variance of what changes from batch to batch, without the trend: of three
 * neighbours, (x0 - 2 x1 + x2)^2 / 6 (Gasser, Sroka & Jennen-Steinmetz 1986). */
static double next_curvature(double before[2], double value)
{
    const double bend = before[0] - 2 * before[1] + value;
    before[0] = before[1];
    before[1] = value;
    return bend * bend / 6;
}

/* Other epochs would be compared otherwise: those in which a mask leaves nothing. */
static void add_roughness(struct findings_roughness *roughness, double masked, double plain)
{
    if (isfinite(masked) && isfinite(plain)) {
        add(&roughness->masked, masked);
        add(&roughness->plain, plain);
    }
}

void findings_take(struct findings_run *run, int64_t epoch, const double *values)
{
    const int n = record_size(run->groups->n);
    if (epoch == 0)
        memcpy(run->first, values, (size_t)n * sizeof *values);
    if (epoch == run->last)
        memcpy(run->final, values, (size_t)n * sizeof *values);
    for (int i = 0; i < n; i++) {
        add(&run->all[i], values[i]);
        if (epoch >= run->end_from)
            add(&run->end[i], values[i]);
    }
    if (epoch < run->start_to)
        add(&run->early_advantage, values[record_at(MOST, RECORD_ADVANTAGE)]);
    double plain = NAN, plain_alone = NAN;
    for (int mask = MASK_NONE; mask < MASKS; mask++) {
        const enum record_field field = (enum record_field)(RECORD_MEAN_LOGP_NONE + mask);
        const double most = values[record_at(MOST, field)], never = values[record_at(NEVER, field)];
        const double masked = next_curvature(run->before[mask], most - never),
                     masked_alone = next_curvature(run->before_alone[mask], most);
        if (mask == MASK_NONE)
            plain = masked, plain_alone = masked_alone;
        add_roughness(&run->comparison[mask], masked, plain);
        add_roughness(&run->alone[mask], masked_alone, plain_alone);
    }
}

/* ---- the numbers of a run ---- */

static double first(const struct findings_run *run, int group, int field)
{
    return run->first[record_at(group, (enum record_field)field)];
}

/* At the end; NaN before anything was trained. */
static double end(const struct findings_run *run, int group, int field)
{
    return run->last ? mean_of(&run->end[record_at(group, (enum record_field)field)]) : NAN;
}

/* Over all records, likewise. */
static double all(const struct findings_run *run, int group, int field)
{
    return run->last ? mean_of(&run->all[record_at(group, (enum record_field)field)]) : NAN;
}

static double change(const struct findings_run *run, int group)
{
    return end(run, group, RECORD_MEAN_LOGP_NONE) - first(run, group, RECORD_MEAN_LOGP_NONE);
}

/* Variance under a mask over that without: its logarithm. */
static double stability(const struct findings_roughness *roughness)
{
    return log(mean_of(&roughness->masked) / mean_of(&roughness->plain));
}

/* The mask that the spec names; `columns`, the study's, where it names none. */
static int headline(const struct findings_run *run)
{
    return run->spec->groups.mask == MASK_NONE ? MASK_COLUMNS : (int)run->spec->groups.mask;
}

/* A job that starts from another model begins where that one ended. */
static int is_untrained_first(const struct findings_run *run)
{
    return !run->spec->init_from[0];
}

static double untrained(const struct findings_run *run, int group)
{
    return theory_untrained_group(run->spec, &run->groups->group[group], run->frequency);
}

/* Mean log p at the optimum without context of the job's own loss. */
static double optimum(const struct findings_run *run, int group)
{
    return theory_optimum_group(run->spec, &run->groups->group[group], run->frequency);
}

static double types_share(const struct findings_run *run)
{
    return run->spec->corpus.vocabulary == VOCABULARY_ALL
               ? (double)run->frequency->types / run->frequency->vocab
               : NAN;
}

static double untrained_level(const struct findings_run *run)
{
    double sum = 0;
    for (int group = 0; group < BUILT_IN; group++)
        sum += first(run, group, RECORD_MEAN_LOGP_NONE);
    return run->frequency->vocab == STUDY_VOCABULARY && is_untrained_first(run) ? sum / BUILT_IN
                                                                                : NAN;
}

static double untrained_level_closed(const struct findings_run *run)
{
    double sum = 0;
    if (run->spec->model.head == HEAD_FULL)
        return theory_untrained(run->spec, run->frequency->vocab);
    for (int group = 0; group < BUILT_IN; group++)
        sum += untrained(run, group);
    return sum / BUILT_IN;
}

static double untrained_spread(const struct findings_run *run)
{
    double low = INFINITY, high = -INFINITY;
    for (int group = 0; group < BUILT_IN; group++) {
        low = fmin(low, first(run, group, RECORD_MEAN_LOGP_NONE));
        high = fmax(high, first(run, group, RECORD_MEAN_LOGP_NONE));
    }
    return is_untrained_first(run) ? high - low : NAN;
}

/* Largest of the groups, in units of the bound that theory gives. */
static double untrained_sd(const struct findings_run *run)
{
    double sd = -INFINITY;
    for (int group = 0; group < BUILT_IN; group++)
        sd = fmax(sd, first(run, group, RECORD_SD));
    return sd / theory_logit_std(run->spec);
}

static double batch_advantage(const struct findings_run *run)
{
    return all(run, MOST, RECORD_ADVANTAGE);
}

static double batch_advantage_start(const struct findings_run *run)
{
    return run->last ? mean_of(&run->early_advantage) : NAN;
}

static double batch_advantage_end(const struct findings_run *run)
{
    return end(run, MOST, RECORD_ADVANTAGE);
}

static double batch_advantage_rare(const struct findings_run *run)
{
    return all(run, LEAST, RECORD_ADVANTAGE);
}

static double batch_stability(const struct findings_run *run)
{
    return stability(&run->comparison[headline(run)]);
}

static double batch_stability_windows(const struct findings_run *run)
{
    return stability(&run->comparison[MASK_WINDOWS]);
}

static double batch_stability_alone(const struct findings_run *run)
{
    return stability(&run->alone[headline(run)]);
}

static double batch_kept(const struct findings_run *run)
{
    return all(run, MOST, RECORD_KEPT_NONE + headline(run));
}

static double batch_kept_windows(const struct findings_run *run)
{
    return all(run, MOST, RECORD_KEPT_WINDOWS);
}

static double common_distance(const struct findings_run *run)
{
    return end(run, MOST, RECORD_MEAN_LOGP_NONE + (int)run->spec->groups.mask) -
           untrained(run, MOST);
}

static double common_probability(const struct findings_run *run)
{
    return end(run, MOST, RECORD_LN_MEAN_P) + log(run->frequency->vocab);
}

static double common_probability_closed(const struct findings_run *run)
{
    return optimum(run, MOST) + log(run->frequency->vocab);
}

static double common_logp(const struct findings_run *run)
{
    return end(run, MOST, RECORD_MEAN_LOGP_NONE);
}

static double common_jensen(const struct findings_run *run)
{
    return end(run, MOST, RECORD_LN_MEAN_P) - end(run, MOST, RECORD_MEAN_LOGP_NONE);
}

static double common_loss(const struct findings_run *run)
{
    return run->last ? mean_of(&run->end[RECORD_LOSS]) : NAN;
}

static double common_entropy(const struct findings_run *run)
{
    return theory_optimum_is_counts(run->spec) ? theory_entropy(run->frequency) : NAN;
}

static double rare_change(const struct findings_run *run)
{
    return change(run, LEAST);
}

static double rare_change_closed(const struct findings_run *run)
{
    return optimum(run, LEAST) - untrained(run, LEAST);
}

static double never_change(const struct findings_run *run)
{
    return change(run, NEVER);
}

static double never_below_rare(const struct findings_run *run)
{
    return change(run, NEVER) - change(run, LEAST);
}

static double never_below_common(const struct findings_run *run)
{
    return change(run, NEVER) - change(run, MOST);
}

static double rare_exposure(const struct findings_run *run)
{
    return run->final[record_at(LEAST, RECORD_EXPOSURE)];
}

static double rare_exposure_closed(const struct findings_run *run)
{
    const double drawn =
        (double)run->steps * run->spec->train.batch_size * run->spec->model.seq_len;
    const struct group *group = &run->groups->group[LEAST];
    return theory_follows_counts(run->spec) ? drawn * theory_mass(group, run->frequency) / group->n
                                            : NAN;
}

/* Movement of never_used's rows that form 3.4 does not explain, in norms of epoch 0:
 * at least so much, since decay has a direction of its own. NaN where nothing tells
 * what decay alone would do: so it is with the output rows of an adaptive head, which
 * are made of two decaying matrices and share an entry with tokens that are seen. */
static double moved_beyond_decay(const struct findings_run *run, enum record_field norm_field,
                                 enum record_field shift_field)
{
    const double norm = first(run, NEVER, norm_field),
                 decayed = fabs(1 - theory_decay(run->spec, run->steps)) * norm;
    return run->last ? fabs(run->final[record_at(NEVER, shift_field)] - decayed) / norm : NAN;
}

static double output_moved(const struct findings_run *run)
{
    if (run->spec->model.head == HEAD_ADAPTIVE)
        return NAN;
    return moved_beyond_decay(run, RECORD_OUTPUT_NORM, RECORD_OUTPUT_SHIFT);
}

static double output_shift(const struct findings_run *run)
{
    return run->last ? run->final[record_at(NEVER, RECORD_OUTPUT_SHIFT)] /
                           first(run, NEVER, RECORD_OUTPUT_NORM)
                     : NAN;
}

static double output_shift_closed(const struct findings_run *run)
{
    return run->spec->model.head == HEAD_ADAPTIVE ? NAN
                                                  : fabs(1 - theory_decay(run->spec, run->steps));
}

static double input_moved(const struct findings_run *run)
{
    return moved_beyond_decay(run, RECORD_INPUT_NORM, RECORD_INPUT_SHIFT);
}

static double input_norm(const struct findings_run *run)
{
    return run->last ? run->final[record_at(NEVER, RECORD_INPUT_NORM)] : NAN;
}

static double input_norm_closed(const struct findings_run *run)
{
    return first(run, NEVER, RECORD_INPUT_NORM) * theory_decay(run->spec, run->steps);
}

static double mass_common(const struct findings_run *run)
{
    return end(run, MOST, RECORD_MASS);
}

static double mass_closed(const struct findings_run *run)
{
    return theory_optimum_mass(run->spec, &run->groups->group[MOST], run->frequency);
}

static double mass_first(const struct findings_run *run)
{
    return first(run, MOST, RECORD_MASS);
}

static double mass_first_closed(const struct findings_run *run)
{
    return is_untrained_first(run) && run->spec->model.head == HEAD_FULL
               ? (double)run->groups->group[MOST].n / run->frequency->vocab
               : NAN;
}

static double linear_difference(const struct findings_run *run)
{
    return (end(run, LEAST, RECORD_MEAN_P) - end(run, NEVER, RECORD_MEAN_P)) /
           end(run, MOST, RECORD_MEAN_P);
}

static double log_difference(const struct findings_run *run)
{
    return end(run, LEAST, RECORD_MEAN_LOGP_NONE) - end(run, NEVER, RECORD_MEAN_LOGP_NONE);
}

/* ---- the tables ---- */

typedef double number_function(const struct findings_run *run);

enum { NEEDS_MOST = 1 << MOST, NEEDS_LEAST = 1 << LEAST, NEEDS_NEVER = 1 << NEVER };
enum number_role {
    JUDGED,   /* the claim stands and falls with it */
    OPTIONAL, /* judged where it exists */
    BESIDE
};

static const struct row {
    enum findings_claim claim;
    const char *id, *what;
    number_function *value;
    enum number_role role;
    unsigned needs; /* groups that must hold what their name says */
    double low, high;
    const char *form; /* "3.7" is the optimum of the job's own loss */
    number_function *closed;
} rows[] = {
    /* clang-format off */
    {FINDINGS_VOCABULARY, "types_share", "share of the vocabulary that occurs in the text",
     types_share, JUDGED, 0, 0.18, 0.22, NULL, NULL},

    {FINDINGS_UNTRAINED, "level", "mean log p of the three groups at epoch 0",
     untrained_level, JUDGED, 0, -11, -10.8, "3.1", untrained_level_closed},
    {FINDINGS_UNTRAINED, "spread", "highest minus lowest of the three groups at epoch 0",
     untrained_spread, JUDGED, 0, -INFINITY, FINDINGS_MARGIN, NULL, NULL},
    {FINDINGS_UNTRAINED, "token_sd", "standard deviation between tokens of a group, largest of the three, over that of the logits",
     untrained_sd, JUDGED, 0, -INFINITY, 1.25, "3.1", NULL},

    {FINDINGS_BATCH, "advantage", "mean log p of a common token in windows that contain it minus in the others, mean over epochs",
     batch_advantage, JUDGED, NEEDS_MOST, FINDINGS_MARGIN, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "stability", "ln of the variance over epochs of most_common minus never_used, masked over unmasked",
     batch_stability, JUDGED, NEEDS_MOST | NEEDS_NEVER, -INFINITY, -FINDINGS_MARGIN, NULL, NULL},
    {FINDINGS_BATCH, "stability_windows", "the same with mask windows",
     batch_stability_windows, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "stability_alone", "ln of the variance over epochs of most_common alone, masked over unmasked",
     batch_stability_alone, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "kept", "tokens of most_common that the mask keeps, mean over epochs",
     batch_kept, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "kept_windows", "the same with mask windows",
     batch_kept_windows, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "advantage_start", "advantage of a common token, mean over the first tenth of the epochs",
     batch_advantage_start, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "advantage_end", "advantage of a common token, mean over the last tenth of the epochs",
     batch_advantage_end, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_BATCH, "advantage_rare", "advantage of a rare token",
     batch_advantage_rare, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},

    {FINDINGS_COMMON, "distance", "mean log p of most_common at the end, under the job's mask, minus the untrained level",
     common_distance, JUDGED, NEEDS_MOST, -FINDINGS_NEAR, FINDINGS_NEAR, NULL, NULL},
    {FINDINGS_COMMON, "probability", "ln of mean p of most_common at the end minus that of a uniform draw",
     common_probability, JUDGED, NEEDS_MOST, FINDINGS_NEAR, INFINITY, "3.7", common_probability_closed},
    {FINDINGS_COMMON, "logp", "mean log p of most_common at the end, unmasked",
     common_logp, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_COMMON, "jensen_gap", "ln of mean p minus mean log p of most_common at the end",
     common_jensen, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_COMMON, "loss", "loss at the end, beside that of the best model without context",
     common_loss, BESIDE, 0, -INFINITY, INFINITY, "3.2", common_entropy},

    {FINDINGS_RARE, "rare_change", "mean log p of least_common at the end minus at epoch 0",
     rare_change, JUDGED, NEEDS_LEAST, -INFINITY, -FINDINGS_MARGIN, "3.7", rare_change_closed},
    {FINDINGS_RARE, "never_change", "mean log p of never_used at the end minus at epoch 0",
     never_change, JUDGED, NEEDS_NEVER, -INFINITY, -FINDINGS_MARGIN, NULL, NULL},
    {FINDINGS_RARE, "never_below_rare", "change of never_used minus change of least_common",
     never_below_rare, JUDGED, NEEDS_LEAST | NEEDS_NEVER, -INFINITY, -FINDINGS_MARGIN, NULL, NULL},
    {FINDINGS_RARE, "never_below_common", "change of never_used minus change of most_common",
     never_below_common, JUDGED, NEEDS_MOST | NEEDS_NEVER, -INFINITY, -FINDINGS_MARGIN, NULL, NULL},
    {FINDINGS_RARE, "rare_exposure", "how often a token of least_common has been a target",
     rare_exposure, BESIDE, 0, -INFINITY, INFINITY, "3.2", rare_exposure_closed},

    {FINDINGS_EMBEDDINGS, "output_moved", "displacement of the output rows of never_used that weight decay does not explain, over their norm at epoch 0",
     output_moved, JUDGED, NEEDS_NEVER, 1e-3, INFINITY, "3.4", NULL},
    {FINDINGS_EMBEDDINGS, "input_moved", "displacement of the input rows of never_used that weight decay does not explain, over their norm at epoch 0",
     input_moved, OPTIONAL, NEEDS_NEVER, 1e-3, INFINITY, "3.4", NULL},
    {FINDINGS_EMBEDDINGS, "output_shift", "displacement of the output rows of never_used over their norm at epoch 0, beside that by decay alone",
     output_shift, BESIDE, 0, -INFINITY, INFINITY, "3.4", output_shift_closed},
    {FINDINGS_EMBEDDINGS, "input_norm", "norm of the input rows of never_used at the end",
     input_norm, BESIDE, 0, -INFINITY, INFINITY, "3.4", input_norm_closed},

    {FINDINGS_MASS, "mass", "probability mass of most_common at the end",
     mass_common, JUDGED, NEEDS_MOST, 0.5, INFINITY, "3.7", mass_closed},
    {FINDINGS_MASS, "linear_difference", "mean p of least_common minus that of never_used, over that of most_common",
     linear_difference, JUDGED, NEEDS_MOST | NEEDS_LEAST | NEEDS_NEVER, -0.01, 0.01, NULL, NULL},
    {FINDINGS_MASS, "log_difference", "mean log p of least_common minus that of never_used",
     log_difference, JUDGED, NEEDS_LEAST | NEEDS_NEVER, FINDINGS_MARGIN, INFINITY, NULL, NULL},
    {FINDINGS_MASS, "mass_first", "probability mass of most_common at epoch 0",
     mass_first, BESIDE, 0, -INFINITY, INFINITY, "3.1", mass_first_closed},
    /* clang-format on */
};

enum { ROWS = sizeof rows / sizeof *rows };

static const struct {
    const char *id, *section, *sentence, *rule;
} claims[FINDINGS_CLAIMS] = {
    [FINDINGS_VOCABULARY] = {"vocabulary", "3.1",
                             "About 20 % of the vocabulary occurs in the text.",
                             "The share of token types that occur is 0.18 to 0.22."},
    [FINDINGS_UNTRAINED] =
        {"untrained", "4.1",
         "Untrained, the three groups agree, at -10.8 to -11; no token is distinguished.",
         "Their mean lies in that range (vocabulary of 50257), they differ by less than 0.1 nats, "
         "and tokens of a group spread by at most 1.25 times what untrained logits allow."},
    [FINDINGS_BATCH] =
        {"batch", "4.2",
         "Tokens of the batch have an advantage; masked, the comparison is more stable.",
         "A common token's log p is at least 0.1 nats higher in windows that contain it; the mask "
         "of the job lowers the variance over epochs of most_common minus never_used by a tenth "
         "(ln of the ratio below -0.1)."},
    [FINDINGS_COMMON] =
        {"common", "4.3",
         "Trained, the common tokens stay near the untrained level, at high probability.",
         "Mean log p under the job's mask is within 1 nat of the untrained level, and ln of mean p "
         "at least 1 nat above a uniform draw."},
    [FINDINGS_RARE] = {"rare", "4.3", "Rare tokens fall; tokens never seen fall furthest.",
                       "Both groups end at least 0.1 nats lower than they began, and never_used "
                       "falls at least 0.1 nats further than each of the others."},
    [FINDINGS_EMBEDDINGS] =
        {"embeddings", "5.1", "Every embedding is updated, those of tokens never seen included.",
         "Output rows of never_used move by more than a thousandth of their norm, and so do the "
         "input rows of an untied model, each beyond what weight decay does to them."},
    [FINDINGS_MASS] =
        {"mass", "5.2, 5.3",
         "Probability mass goes to the common tokens; linear space hides the rest.",
         "most_common ends with more than half of the probability; least_common and never_used "
         "differ by less than a hundredth of its mean p, and by more than 0.1 nats in log p."},
};

/* ---- verdicts ---- */

static const char *const verdict_names[] = {
    [FINDINGS_SUPPORTED] = "supported",
    [FINDINGS_NOT_SUPPORTED] = "not supported",
    [FINDINGS_UNDETERMINED] = "undetermined",
    [FINDINGS_NOT_TESTABLE] = "not testable here",
    [FINDINGS_SHOWN] = "shown",
};

const char *findings_verdict_name(enum findings_verdict verdict)
{
    return verdict_names[verdict];
}

/* Groups of a run that hold what their names say: whatever the selection, the
 * highest counts, the lowest above 0, and 0. */
static unsigned true_groups(const struct findings_run *run)
{
    const struct frequency *frequency = run->frequency;
    unsigned good = NEEDS_MOST | NEEDS_LEAST | NEEDS_NEVER;
    for (int g = 0; g < BUILT_IN; g++) {
        const struct group *group = &run->groups->group[g];
        int64_t low = INT64_MAX, high = 0;
        for (int i = 0; i < group->n; i++) {
            const int64_t count = frequency->counts[group->ids[i]];
            low = count < low ? count : low;
            high = count > high ? count : high;
        }
        int above = 0, below = 0;
        for (int i = 0; i < frequency->vocab; i++) {
            above += frequency->counts[i] > low;
            below += frequency->counts[i] > 0 && frequency->counts[i] < high;
        }
        const int is_true = g == MOST    ? above < group->n && low > 0
                            : g == LEAST ? below < group->n && low > 0
                                         : high == 0;
        if (!is_true)
            good &= ~(1u << g);
    }
    return good;
}

/* The runs that have a value may have it because of what it is: they do not speak
 * for the others. */
static enum findings_verdict judge(const struct statistics *measured, int runs, double low,
                                   double high)
{
    const double half = measured->n > 1 ? measured->half : 0;
    if (!measured->n)
        return FINDINGS_NOT_TESTABLE;
    if (measured->n < runs)
        return FINDINGS_UNDETERMINED;
    if (measured->mean - half > low && measured->mean + half < high)
        return FINDINGS_SUPPORTED;
    if (measured->mean + half <= low || measured->mean - half >= high)
        return FINDINGS_NOT_SUPPORTED;
    return FINDINGS_UNDETERMINED;
}

/* The optimum of the plain loss is form 3.2. */
static const char *form_of(const struct row *row, const struct findings_run *run)
{
    const int is_optimum = row->form && strcmp(row->form, "3.7") == 0;
    return is_optimum && theory_optimum_is_counts(run->spec) ? "3.2" : row->form;
}

static void judge_number(const struct row *row, const struct findings_run *runs, int n,
                         unsigned good, struct findings_number *number)
{
    double values[FINDINGS_RUNS_MAX], closed[FINDINGS_RUNS_MAX];
    for (int i = 0; i < n; i++) {
        values[i] = row->value(&runs[i]);
        closed[i] = row->closed ? row->closed(&runs[i]) : NAN;
    }
    *number = (struct findings_number){.id = row->id,
                                       .what = row->what,
                                       .form = form_of(row, runs),
                                       .measured = statistics_of(values, n, 1),
                                       .closed = statistics_of(closed, n, 1).mean,
                                       .low = row->low,
                                       .high = row->high};
    if (row->role == BESIDE)
        number->verdict = FINDINGS_SHOWN;
    else if ((row->needs & good) != row->needs)
        number->verdict = FINDINGS_NOT_TESTABLE;
    else
        number->verdict = judge(&number->measured, n, row->low, row->high);
}

/* One part that fails settles a claim; else one that cannot be told leaves it open. */
static void settle(struct finding *finding, enum findings_verdict part, enum number_role role)
{
    static const int weight[] = {[FINDINGS_SUPPORTED] = 0,
                                 [FINDINGS_UNDETERMINED] = 1,
                                 [FINDINGS_NOT_TESTABLE] = 2,
                                 [FINDINGS_NOT_SUPPORTED] = 3};
    if (role == BESIDE || (role == OPTIONAL && part == FINDINGS_NOT_TESTABLE))
        return;
    if (weight[part] > weight[finding->verdict])
        finding->verdict = part;
}

/* ---- words ---- */

struct words {
    char *text;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(words->text + words->used, FINDINGS_TEXT - words->used, format, list);
    va_end(list);
    words->used += n < 0 ? 0 : (size_t)n;
    if (words->used >= FINDINGS_TEXT)
        words->used = FINDINGS_TEXT - 1;
}

static const struct findings_number *number_of(const struct finding *finding, const char *id)
{
    for (int i = 0; i < finding->n; i++)
        if (strcmp(finding->number[i].id, id) == 0)
            return &finding->number[i];
    assert(!"a number that the table does not have");
    return NULL;
}

/* The number with its interval, or "-". */
static void say_number(struct words *words, const struct finding *finding, const char *id,
                       int digits)
{
    const struct statistics *measured = &number_of(finding, id)->measured;
    if (!measured->n)
        say(words, "-");
    else if (measured->n == 1)
        say(words, "%.*f", digits, measured->mean);
    else
        say(words, "%.*f ± %.*f", digits, measured->mean, digits, measured->half);
    if (measured->n && measured->n < finding->runs)
        say(words, " (%d of %d runs)", measured->n, finding->runs);
}

static void say_closed(struct words *words, const struct finding *finding, const char *id,
                       int digits)
{
    const double closed = number_of(finding, id)->closed;
    if (isfinite(closed))
        say(words, " (closed form %.*f)", digits, closed);
}

/* Words between numbers: {ID:DIGITS}, and {ID:DIGITS+} with the closed form. */
static void say_all(struct words *words, const struct finding *finding, const char *text)
{
    for (; *text; text++) {
        char id[32];
        if (*text != '{') {
            say(words, "%c", *text);
            continue;
        }
        const size_t n = strcspn(++text, "}:");
        snprintf(id, sizeof id, "%.*s", (int)n, text);
        say_number(words, finding, id, text[n + 1] - '0');
        if (text[n + 2] == '+')
            say_closed(words, finding, id, text[n + 1] - '0');
        text += strcspn(text, "}");
    }
}

static const char *const measured_words[FINDINGS_CLAIMS] = {
    [FINDINGS_VOCABULARY] = "{types_share:4} of the token types occur",
    [FINDINGS_UNTRAINED] = "level {level:3+}, the groups differ by {spread:3}, tokens by "
                           "{token_sd:2} of what untrained logits allow",
    [FINDINGS_BATCH] = "advantage {advantage:3} nats ({advantage_start:3} over the first tenth "
                       "of the epochs, {advantage_end:3} over the last); ln of the variance ratio "
                       "{stability:2}, with "
                       "{kept:1} tokens kept",
    [FINDINGS_COMMON] = "mean log p is {distance:2} nats from the untrained level, ln of mean p "
                        "{probability:2+} above a uniform draw; Jensen gap {jensen_gap:2} at loss "
                        "{loss:2}",
    [FINDINGS_RARE] = "least_common {rare_change:2}, never_used {never_change:2} nats; never_used "
                      "falls {never_below_rare:2} against least_common",
    [FINDINGS_EMBEDDINGS] = "output rows of tokens never seen moved by {output_moved:3} of their "
                            "norm beyond decay",
    [FINDINGS_MASS] = "most_common holds {mass:3+} of the probability; least_common and never_used "
                      "differ by {linear_difference:5} of its mean p, and by {log_difference:2} "
                      "nats in log p",
};

static int failed(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->verdict == FINDINGS_NOT_SUPPORTED;
}

static double value_of(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->measured.mean;
}

/* Why a part of the claim fails, from the numbers beside it. */
static void say_vocabulary(struct words *words, const struct finding *finding,
                           const struct findings_run *run)
{
    (void)finding;
    say(words, "This text uses %d of the %d tokens of %s.", run->frequency->types,
        run->frequency->vocab, run->spec->corpus.tokenizer);
}

static void say_untrained(struct words *words, const struct finding *finding,
                          const struct findings_run *run)
{
    if (run->spec->model.head == HEAD_ADAPTIVE) {
        say(words, "An adaptive head sets its clusters apart before any training.");
        return;
    }
    if (failed(finding, "level"))
        say(words,
            "The level is -ln V - s^2/2 = %.3f with V = %d and logits of standard deviation s = "
            "%.3f. ",
            untrained_level_closed(run), run->frequency->vocab, theory_logit_std(run->spec));
    if (failed(finding, "spread") || failed(finding, "token_sd"))
        say(words, "Initial logits of standard deviation %.3f tell tokens apart by chance.",
            theory_logit_std(run->spec));
}

/* What the first and the last tenth say of a mean over all epochs that is too small. */
static void say_advantage(struct words *words, const struct finding *finding)
{
    const double start = value_of(finding, "advantage_start"),
                 end = value_of(finding, "advantage_end");
    say(words,
        "Standing in the window is worth %.3f nats to a common token, mean over all epochs; ",
        value_of(finding, "advantage"));
    if (!isfinite(start) || !isfinite(end))
        say(words, "the first or the last tenth of them has none to compare. ");
    else if (end > FINDINGS_MARGIN)
        say(words,
            "%.3f over the last tenth, from %.3f over the first: the model ends above the bound, "
            "and the mean holds what it was before. ",
            end, start);
    else if (start > FINDINGS_MARGIN)
        say(words, "%.3f over the first tenth, but %.3f over the last: it was lost. ", start, end);
    else
        say(words,
            "%.3f over the first tenth, %.3f over the last: the model has hardly learnt to repeat "
            "what it has read. ",
            start, end);
}

static void say_batch(struct words *words, const struct finding *finding,
                      const struct findings_run *run)
{
    const int mask = headline(run);
    if (failed(finding, "advantage"))
        say_advantage(words, finding);
    if (!failed(finding, "stability"))
        return;
    if (mask == MASK_COLUMNS)
        say(words,
            "Mask columns keeps %.0f of %d common tokens, others in every batch: their mean moves "
            "with the choice. ",
            value_of(finding, "kept"), run->groups->group[MOST].n);
    else
        say(words,
            "What mask %s leaves out differs from batch to batch, and with it the mean of the "
            "rest. ",
            spec_mask_name((enum spec_mask)mask));
    if (mask != MASK_WINDOWS)
        say(words, "With mask windows, which keeps %.0f tokens, ln of the ratio is %.2f.",
            value_of(finding, "kept_windows"), value_of(finding, "stability_windows"));
}

static double closed_of(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->closed;
}

/* Where the common tokens' probability should be, and where it and its logarithm are. */
static void say_common(struct words *words, const struct finding *finding,
                       const struct findings_run *run)
{
    const double closed = closed_of(finding, "probability"), loss = closed_of(finding, "loss");
    if (!isfinite(closed))
        say(words, "Targets do not follow the counts of the text: ln of mean p ");
    else if (theory_optimum_is_counts(run->spec))
        say(words, "Counting alone puts ln of mean p %.2f nats above a uniform draw: here it ",
            closed);
    else
        say(words,
            "The best model of this loss without context has ln of mean p %.2f nats above a "
            "uniform draw: here it ",
            closed);
    say(words,
        "stands at %+.2f. Mean log p lies below it by the Jensen gap, which grows as context is "
        "learnt: %.2f at loss %.2f",
        value_of(finding, "probability"), value_of(finding, "jensen_gap"),
        value_of(finding, "loss"));
    if (isfinite(loss))
        say(words, " (without context: %.2f)", loss);
    say(words, ".");
}

static void say_rare(struct words *words, const struct finding *finding,
                     const struct findings_run *run)
{
    if (failed(finding, "rare_change"))
        say(words, "Rare tokens have been targets %.2f times on average. ",
            value_of(finding, "rare_exposure"));
    if (failed(finding, "rare_change") && isfinite(closed_of(finding, "rare_change")))
        say(words,
            "The best model of this loss without context has them %.2f nats from the untrained "
            "level. ",
            closed_of(finding, "rare_change"));
    if (failed(finding, "never_below_rare"))
        say(words,
            "Rare tokens have been targets %.2f times on average in %lld updates, too little to "
            "part from those that never are. ",
            value_of(finding, "rare_exposure"), (long long)run->steps);
    if (failed(finding, "never_change") || failed(finding, "never_below_common"))
        say(words,
            "Nothing has pushed tokens that are never a target down far enough: %lld "
            "updates with learning rate %g.",
            (long long)run->steps, run->spec->train.lr);
}

static void say_embeddings(struct words *words, const struct finding *finding,
                           const struct findings_run *run)
{
    if (failed(finding, "output_moved"))
        say(words,
            "%lld updates with learning rate %g moved the output rows too little beyond what "
            "decay does to them. ",
            (long long)run->steps, run->spec->train.lr);
    if (failed(finding, "input_moved"))
        say(words, "Softmax touches every output row, but an input row gets a gradient only where "
                   "its token is fed: rows never fed change by weight decay alone.");
}

static void say_mass(struct words *words, const struct finding *finding,
                     const struct findings_run *run)
{
    if (failed(finding, "mass"))
        say(words, "The group makes up %.3f of the text. ",
            theory_mass(&run->groups->group[MOST], run->frequency));
    if (failed(finding, "mass") && !theory_follows_counts(run->spec))
        say(words, "Targets do not follow its counts. ");
    else if (failed(finding, "mass") && !theory_optimum_is_counts(run->spec))
        say(words, "The best model of this loss without context gives it %.3f. ",
            closed_of(finding, "mass"));
    if (failed(finding, "linear_difference"))
        say(words, "Rare and unseen tokens differ by %.4f of the common ones' mean p. ",
            value_of(finding, "linear_difference"));
    if (failed(finding, "log_difference"))
        say(words, "Rare and unseen tokens have not parted in log p either.");
}

static void (*const cause_words[FINDINGS_CLAIMS])(struct words *words,
                                                  const struct finding *finding,
                                                  const struct findings_run *run) = {
    say_vocabulary, say_untrained, say_batch, say_common, say_rare, say_embeddings, say_mass,
};

static void say_not_testable(struct words *words, const struct finding *finding,
                             const struct findings_run *run, unsigned good)
{
    static const char *const holds[] = {"the most frequent tokens", "the rarest tokens",
                                        "tokens that never occur"};
    for (int g = 0; g < BUILT_IN; g++)
        if (!(good & 1u << g))
            say(words, "With this selection %s does not hold %s. ", run->groups->group[g].name,
                holds[g]);
    if (run->last == 0)
        say(words, "Nothing has been trained yet. ");
    if (finding->claim == FINDINGS_EMBEDDINGS && isnan(theory_decay(run->spec, 1)))
        say(words, "What decay alone would do has no closed form under this optimiser. ");
    for (int i = 0; i < finding->n; i++)
        if (finding->number[i].verdict == FINDINGS_NOT_TESTABLE && !finding->number[i].measured.n)
            say(words, "No value: %s. ", finding->number[i].what);
}

/* Whatever else can be said of a claim about the untrained level. */
static void say_start(struct words *words, const struct finding *finding,
                      const struct findings_run *run)
{
    if (!is_untrained_first(run) &&
        (finding->claim == FINDINGS_UNTRAINED || finding->claim == FINDINGS_COMMON))
        say(words, "The job starts from another model, so there is no untrained level. ");
}

/* Seeds of one kind that two of the runs have in common: what they draw is then the
 * same in both, and the interval does not tell how much depends on it. */
static int is_shared(const struct findings_run *runs, int n, uint64_t seed(const struct spec *spec))
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (seed(runs[i].spec) == seed(runs[j].spec))
                return 1;
    return 0;
}

static void say_runs(struct words *words, const struct findings_run *runs, int n)
{
    static const struct {
        const char *draws;
        uint64_t (*seed)(const struct spec *spec);
    } kinds[] = {{"initial weights", spec_seed_weights},
                 {"batches", spec_seed_data},
                 {"groups", spec_seed_groups}};
    const char *before = ", with shared ";
    if (n == 1) {
        say(words, "In this run: ");
        return;
    }
    say(words, "Over %d seeds", n);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (is_shared(runs, n, kinds[k].seed)) {
            say(words, "%s%s", before, kinds[k].draws);
            before = " and ";
        }
    say(words, ": ");
}

static void say_undetermined(struct words *words, const struct finding *finding)
{
    int across = 0;
    for (int i = 0; i < finding->n; i++) {
        const struct findings_number *number = &finding->number[i];
        const int is_open = number->verdict == FINDINGS_UNDETERMINED,
                  is_partial = number->measured.n < finding->runs;
        across |= is_open && !is_partial;
        if (is_open && is_partial)
            say(words, "Only %d of %d runs have a value: %s. ", number->measured.n, finding->runs,
                number->what);
    }
    if (across)
        say(words, "The 95 %% interval over %d seeds reaches across a bound.", finding->runs);
}

static void put_words(struct finding *finding, const struct findings_run *runs, int n,
                      unsigned good)
{
    struct words words = {finding->measured, 0};
    say_runs(&words, runs, n);
    say_all(&words, finding, measured_words[finding->claim]);
    if (finding->claim == FINDINGS_EMBEDDINGS)
        say_all(&words, finding,
                runs[0].spec->model.tie == TIE_TIED ? "; a tied model has no other input rows"
                                                    : ", input rows by {input_moved:6}");
    say(&words, ".");
    words = (struct words){finding->cause, 0};
    say_start(&words, finding, &runs[0]);
    if (finding->verdict == FINDINGS_NOT_SUPPORTED)
        cause_words[finding->claim](&words, finding, &runs[0]);
    else if (finding->verdict == FINDINGS_NOT_TESTABLE)
        say_not_testable(&words, finding, &runs[0], good);
    else if (finding->verdict == FINDINGS_UNDETERMINED)
        say_undetermined(&words, finding);
    while (words.used && finding->cause[words.used - 1] == ' ')
        finding->cause[--words.used] = '\0';
}

void findings_judge(const struct findings_run *runs, int n, struct finding out[FINDINGS_CLAIMS])
{
    assert(n >= 1 && n <= FINDINGS_RUNS_MAX);
    unsigned good = ~0u;
    for (int i = 0; i < n; i++)
        good &= true_groups(&runs[i]);
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        struct finding *finding = &out[c];
        *finding = (struct finding){.claim = (enum findings_claim)c,
                                    .id = claims[c].id,
                                    .section = claims[c].section,
                                    .sentence = claims[c].sentence,
                                    .rule = claims[c].rule,
                                    .verdict = FINDINGS_SUPPORTED,
                                    .runs = n};
        for (int r = 0; r < ROWS; r++) {
            if (rows[r].claim != finding->claim)
                continue;
            assert(finding->n < FINDINGS_NUMBERS_MAX);
            struct findings_number *number = &finding->number[finding->n++];
            judge_number(&rows[r], runs, n, good, number);
            settle(finding, number->verdict, rows[r].role);
        }
        put_words(finding, runs, n, good);
    }
}
