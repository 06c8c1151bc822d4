/* findings: see findings.h. Three parts: taking records, the numbers (a table of functions
 * of a run), and the rule that turns an interval into a verdict. Numbers of epoch 0 are
 * those of its record. Numbers "at the end" are means over the last tenth of the records,
 * because one record is one batch. */
#include "lab/findings.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "lab/findings_run.h"
#include "lab/findings_words.h"
#include "lab/theory.h"

enum { STUDY_VOCABULARY = 50257 }; /* the statements of the study in nats are about this size */

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

/* Variance from batch to batch without the trend: (x0 - 2 x1 + x2)^2 / 6 of three neighbours
 * (Gasser, Sroka & Jennen-Steinmetz 1986). */
static double next_curvature(double before[2], double value)
{
    const double bend = before[0] - 2 * before[1] + value;
    before[0] = before[1];
    before[1] = value;
    return bend * bend / 6;
}

/* Count only epochs with both values: a mask may leave nothing in an epoch, and the two
 * means must be over the same epochs. */
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
    if (epoch % run->spec->train.record_every != 0)
        return; /* the last record, nearer to the one before than others: no even neighbours */
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

/* Over all records; NaN before anything was trained. */
static double all(const struct findings_run *run, int group, int field)
{
    return run->last ? mean_of(&run->all[record_at(group, (enum record_field)field)]) : NAN;
}

static double change(const struct findings_run *run, int group)
{
    return end(run, group, RECORD_MEAN_LOGP_NONE) - first(run, group, RECORD_MEAN_LOGP_NONE);
}

/* Logarithm of the variance under a mask over the variance without one. */
static double stability(const struct findings_roughness *roughness)
{
    return log(mean_of(&roughness->masked) / mean_of(&roughness->plain));
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
    return run->frequency->vocab == STUDY_VOCABULARY && findings_run_is_untrained_first(run)
               ? sum / BUILT_IN
               : NAN;
}

static double untrained_spread(const struct findings_run *run)
{
    double low = INFINITY, high = -INFINITY;
    for (int group = 0; group < BUILT_IN; group++) {
        low = fmin(low, first(run, group, RECORD_MEAN_LOGP_NONE));
        high = fmax(high, first(run, group, RECORD_MEAN_LOGP_NONE));
    }
    return findings_run_is_untrained_first(run) ? high - low : NAN;
}

/* Largest of the three groups, as a fraction of the bound of form 3.1. */
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
    return stability(&run->comparison[findings_run_mask(run)]);
}

static double batch_stability_windows(const struct findings_run *run)
{
    return stability(&run->comparison[MASK_WINDOWS]);
}

static double batch_stability_alone(const struct findings_run *run)
{
    return stability(&run->alone[findings_run_mask(run)]);
}

static double batch_kept(const struct findings_run *run)
{
    return all(run, MOST, RECORD_KEPT_NONE + (int)findings_run_mask(run));
}

static double batch_kept_windows(const struct findings_run *run)
{
    return all(run, MOST, RECORD_KEPT_WINDOWS);
}

static double common_distance(const struct findings_run *run)
{
    return end(run, MOST, RECORD_MEAN_LOGP_NONE + (int)run->spec->groups.mask) -
           findings_run_untrained(run, MOST);
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
    return optimum(run, LEAST) - findings_run_untrained(run, LEAST);
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

/* Lower bound of the movement of never_used's rows beyond decay (form 3.4), in norms of
 * epoch 0: a bound, because decay has a direction of its own. NaN if the movement by decay
 * alone is unknown. That is so for the output rows of an adaptive head: they are made of two
 * decaying matrices and share an entry with tokens that are seen. */
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
    return findings_run_is_untrained_first(run) && run->spec->model.head == HEAD_FULL
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
    JUDGED,   /* decides the claim */
    OPTIONAL, /* decides the claim if it has a value */
    BESIDE
};

static const struct row {
    enum findings_claim claim;
    const char *id, *what;
    number_function *value;
    enum number_role role;
    unsigned needs; /* bits of the groups that must hold what their name says */
    double low, high;
    /* "3.7" is the optimum of the job's own loss; form_of makes it "3.2" for the plain loss. */
    const char *form;
    number_function *closed;
} rows[] = {
    /* clang-format off */
    {FINDINGS_VOCABULARY, "types_share", "share of the vocabulary that occurs in the text",
     types_share, JUDGED, 0, 0.18, 0.22, NULL, NULL},

    {FINDINGS_UNTRAINED, "level", "mean log p of the three groups at epoch 0",
     untrained_level, JUDGED, 0, -11, -10.8, "3.1", findings_run_untrained_level},
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
    {FINDINGS_COMMON, "probability", "mean ln(mean p) of most_common at the end minus that of a uniform draw",
     common_probability, JUDGED, NEEDS_MOST, FINDINGS_NEAR, INFINITY, "3.7", common_probability_closed},
    {FINDINGS_COMMON, "logp", "mean log p of most_common at the end, unmasked",
     common_logp, BESIDE, 0, -INFINITY, INFINITY, NULL, NULL},
    {FINDINGS_COMMON, "jensen_gap", "mean ln(mean p) minus mean log p of most_common at the end",
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
         "Mean log p under the job's mask is within 1 nat of the untrained level, and "
         "mean ln(mean p) at least 1 nat above a uniform draw."},
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

/* Bits of the groups of a run that hold what their names say: the highest counts, the lowest
 * counts above 0, counts of 0. A published selection may not. */
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

/* Missing values may be informative, so a number that only some runs have is undetermined. */
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

/* For the plain loss form 3.7 is form 3.2. */
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

/* A part that fails decides a claim; otherwise a part that cannot be judged leaves it open. */
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
        findings_words_put(finding, runs, n, good);
    }
}
