/* theory: see theory.h. The formulas of 3.1 hold in expectation over the initial weights,
 * for a vocabulary so large that the mean over it equals its expectation. Closed forms are
 * shown beside measured numbers and never replace them. No state, any thread. */
#include "lab/theory.h"

#include <math.h>

#include "lab/clusters.h"

double theory_logit_std(const struct spec *spec)
{
    if (spec->init_from[0])
        return NAN;
    return spec->model.logit_scale * spec->model.init_std * sqrt(spec->model.d_model);
}

static double softmax_level(int outputs, double std)
{
    return -log(outputs) - std * std / 2;
}

double theory_untrained_cluster(const struct spec *spec, int vocab, int k)
{
    struct clusters clusters;
    clusters_of(spec, vocab, &clusters);
    const double first = softmax_level(clusters.cluster[0].outputs, theory_logit_std(spec));
    const double projected =
        theory_logit_std(spec) * spec->model.init_std * sqrt(clusters.cluster[k].width);
    return k ? first + softmax_level(clusters.cluster[k].outputs, projected) : first;
}

double theory_untrained(const struct spec *spec, int vocab)
{
    struct clusters clusters;
    double sum = 0;
    clusters_of(spec, vocab, &clusters);
    if (clusters.n == 1)
        return theory_untrained_cluster(spec, vocab, 0);
    for (int k = 0; k < clusters.n; k++)
        sum += clusters.cluster[k].tokens * theory_untrained_cluster(spec, vocab, k);
    return sum / vocab;
}

double theory_untrained_group(const struct spec *spec, const struct group *group,
                              const struct frequency *frequency)
{
    struct clusters clusters;
    double sum = 0;
    clusters_of(spec, frequency->vocab, &clusters);
    if (clusters.n == 1)
        return group->n ? theory_untrained(spec, frequency->vocab) : NAN;
    for (int i = 0; i < group->n; i++)
        sum += theory_untrained_cluster(
            spec, frequency->vocab,
            clusters_find(&clusters, clusters_rank(frequency, group->ids[i])));
    return group->n ? sum / group->n : NAN;
}

double theory_context_free(const struct group *group, const struct frequency *frequency)
{
    double sum = 0;
    for (int i = 0; i < group->n; i++) {
        const int64_t count = frequency->counts[group->ids[i]];
        if (!count)
            return NAN;
        sum += log((double)count / (double)frequency->total);
    }
    return group->n ? sum / group->n : NAN;
}

double theory_entropy(const struct frequency *frequency)
{
    double sum = 0;
    if (!frequency->total)
        return NAN;
    for (int i = 0; i < frequency->vocab; i++) {
        const double share = (double)frequency->counts[i] / (double)frequency->total;
        if (share > 0)
            sum -= share * log(share);
    }
    return sum;
}

double theory_mass(const struct group *group, const struct frequency *frequency)
{
    double sum = 0;
    for (int i = 0; i < group->n; i++)
        sum += (double)frequency->counts[group->ids[i]];
    return group->n && frequency->total ? sum / (double)frequency->total : NAN;
}

double theory_break_even(double level, const struct frequency *frequency)
{
    return (double)frequency->total * exp(level);
}

double theory_types_below(double level, const struct frequency *frequency)
{
    const double count = theory_break_even(level, frequency);
    int below = 0;
    for (int i = 0; i < frequency->vocab; i++)
        below += frequency->counts[i] > 0 && (double)frequency->counts[i] < count;
    return frequency->types && !isnan(level) ? (double)below / frequency->types : NAN;
}

double theory_gradient_sum(const struct spec *spec)
{
    return spec->loss.z_loss > 0 ? NAN : 0;
}

void theory_z_loss_sum(double z_loss, double scale, const double *h, const double *lse, int N,
                       int C, double *sum)
{
    for (int c = 0; c < C; c++)
        sum[c] = 0;
    for (int p = 0; p < N; p++)
        for (int c = 0; c < C; c++)
            sum[c] += 2 * z_loss * scale / N * lse[p] * h[(int64_t)p * C + c];
}

/* Ranks follow counts, so the types of a cluster that lie below its level are its last ones. */
double theory_types_below_start(const struct spec *spec, const struct frequency *frequency)
{
    struct clusters clusters;
    int below = 0;
    if (spec->init_from[0])
        return NAN;
    clusters_of(spec, frequency->vocab, &clusters);
    for (int k = 0; k < clusters.n; k++) {
        const struct cluster *cluster = &clusters.cluster[k];
        const double level = theory_untrained_cluster(spec, frequency->vocab, k);
        const int end = cluster->first + cluster->tokens;
        int first = 0;
        for (int i = 0; i < frequency->vocab; i++)
            first += frequency->counts[i] > 0 &&
                     (double)frequency->counts[i] >= theory_break_even(level, frequency);
        first = first > cluster->first ? first : cluster->first;
        const int used = end < frequency->types ? end : frequency->types;
        below += used > first ? used - first : 0;
    }
    return frequency->types ? (double)below / frequency->types : NAN;
}

static double embedding_decay(const struct spec *spec)
{
    return spec->train.decay_embeddings ? spec->train.weight_decay : 0;
}

double theory_decay(const struct spec *spec, int64_t steps)
{
    const double decay = embedding_decay(spec);
    const int only_decays = spec->train.optimizer == OPTIMIZER_ADAMW ||
                            spec->train.optimizer == OPTIMIZER_SGD || decay == 0;
    return only_decays ? pow(1 - spec->train.lr * decay, (double)steps) : NAN;
}

double theory_adamw_first(const struct spec *spec, double g, double w)
{
    const double lr = spec->train.lr;
    return -lr * g / (fabs(g) + spec->train.eps) - lr * spec->train.weight_decay * w;
}

double theory_adam_logit_step(const struct spec *spec, double h_l1)
{
    return -spec->train.lr * spec->model.logit_scale * h_l1;
}

static int is_one_plain_softmax(const struct spec *spec)
{
    return spec->model.head == HEAD_FULL && !spec->model.head_bias;
}

int theory_adam_applies(const struct spec *spec)
{
    const int is_adam = spec->train.optimizer == OPTIMIZER_ADAMW ||
                        (spec->train.optimizer == OPTIMIZER_ADAM && embedding_decay(spec) == 0);
    const int is_hidden = spec->loss.logit_adjustment != 0 &&
                          (spec->loss.label_smoothing != 0 || spec->loss.z_loss != 0);
    return is_adam && is_one_plain_softmax(spec) && spec->loss.class_weight == 0 && !is_hidden;
}

int theory_adam_pushes_down(const struct spec *spec, int vocab, double logp, double log_z)
{
    return exp(logp) * (1 + 2 * spec->loss.z_loss * log_z) > spec->loss.label_smoothing / vocab;
}

int theory_sgd_applies(const struct spec *spec)
{
    return spec->train.optimizer == OPTIMIZER_SGD && spec->train.grad_clip == 0 &&
           embedding_decay(spec) == 0 && spec_objective_is_loss(spec) && is_one_plain_softmax(spec);
}

double theory_sgd_logp(double start, double pull)
{
    return -log(exp(-start) + pull);
}

double theory_sgd_pull(const struct spec *spec, double h_norm)
{
    const double s = spec->model.logit_scale;
    return spec->train.lr * s * s * h_norm * h_norm;
}

/* Sum of the weights of all targets, and ln(m_i / prior_i^tau) of a token. */
static double weights_of(const struct theory_loss *loss, const struct frequency *frequency)
{
    double weights = 0;
    for (int i = 0; i < frequency->vocab; i++)
        if (frequency->counts[i])
            weights += pow((double)frequency->counts[i], 1 - loss->class_weight);
    return weights;
}

static double optimum_of(const struct theory_loss *loss, const struct frequency *frequency,
                         double weights, int token)
{
    const int V = frequency->vocab;
    const double count = (double)frequency->counts[token];
    const double weighted = count > 0 ? pow(count, 1 - loss->class_weight) / weights : 0;
    const double mean = (1 - loss->label_smoothing) * weighted + loss->label_smoothing / V;
    const double prior = (count + 1) / ((double)frequency->total + V);
    return mean > 0 ? log(mean) - loss->logit_adjustment * log(prior) : NAN;
}

static double partition_of(const struct theory_loss *loss, const struct frequency *frequency,
                           double weights)
{
    double partition = 0;
    for (int i = 0; i < frequency->vocab; i++) {
        const double logp = optimum_of(loss, frequency, weights, i);
        partition += isnan(logp) ? 0 : exp(logp);
    }
    return partition;
}

void theory_optimum(const struct theory_loss *loss, const struct frequency *frequency, double *logp)
{
    const double weights = weights_of(loss, frequency),
                 partition = partition_of(loss, frequency, weights);
    for (int i = 0; i < frequency->vocab; i++)
        logp[i] = optimum_of(loss, frequency, weights, i) - log(partition);
}

double theory_group_mean(const struct group *group, const double *logp)
{
    double sum = 0;
    for (int i = 0; i < group->n; i++)
        sum += logp[group->ids[i]];
    return group->n ? sum / group->n : NAN;
}

int theory_follows_counts(const struct spec *spec)
{
    for (int i = 0; spec->data.inject.tokens && i < spec->data.inject.n_doses; i++)
        if (spec->data.inject.doses[i] > 0)
            return 0;
    return !spec->data.oversample_group[0];
}

struct theory_loss theory_loss_of(const struct spec *spec)
{
    return (struct theory_loss){.class_weight = spec->loss.class_weight,
                                .logit_adjustment = spec->loss.logit_adjustment,
                                .label_smoothing = spec->loss.label_smoothing};
}

double theory_optimum_group(const struct spec *spec, const struct group *group,
                            const struct frequency *frequency)
{
    const struct theory_loss loss = theory_loss_of(spec);
    const double weights = weights_of(&loss, frequency);
    double sum = 0;
    if (!group->n || !theory_follows_counts(spec))
        return NAN;
    for (int i = 0; i < group->n; i++)
        sum += optimum_of(&loss, frequency, weights, group->ids[i]);
    return sum / group->n - log(partition_of(&loss, frequency, weights));
}

/* A token without log p has probability 0. */
double theory_optimum_mass(const struct spec *spec, const struct group *group,
                           const struct frequency *frequency)
{
    const struct theory_loss loss = theory_loss_of(spec);
    const double weights = weights_of(&loss, frequency);
    double sum = 0;
    if (!group->n || !theory_follows_counts(spec))
        return NAN;
    for (int i = 0; i < group->n; i++) {
        const double logp = optimum_of(&loss, frequency, weights, group->ids[i]);
        sum += isnan(logp) ? 0 : exp(logp);
    }
    return sum / partition_of(&loss, frequency, weights);
}

int theory_optimum_is_counts(const struct spec *spec)
{
    return theory_follows_counts(spec) && spec->loss.class_weight == 0 &&
           spec->loss.logit_adjustment == 0 && spec->loss.label_smoothing == 0;
}
