/* indicators: see indicators.h. All sums are in double; every row is read twice. */
#include "lab/indicators.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over the rows of a set: of rows and of rows scaled to length 1, each [C]. */
struct sums {
    int n, n_directed;
    double norms;
    double *rows, *directions;
};

enum { USED, REFERENCE, HELD_OUT, SETS };

/* A tested token: its score and its count. */
struct score {
    double value;
    int64_t count;
};

struct work {
    int V, C;
    const struct frequency *frequency;
    unsigned char *set; /* [V] */
    struct sums sums[SETS];
    double *reference;    /* [C] mean row of the reference set */
    struct score *scores; /* [V] */
    double *distance;     /* [V] */
};

static double norm_of(const float *row, int C)
{
    double squares = 0;
    for (int c = 0; c < C; c++)
        squares += (double)row[c] * (double)row[c];
    return sqrt(squares);
}

static double length(const double *row, int C)
{
    double squares = 0;
    for (int c = 0; c < C; c++)
        squares += row[c] * row[c];
    return sqrt(squares);
}

static void work_free(struct work *work)
{
    for (int s = 0; s < SETS; s++)
        free(work->sums[s].rows), free(work->sums[s].directions);
    free(work->set), free(work->reference), free(work->scores), free(work->distance);
}

static int work_open(struct work *work, struct err *err)
{
    const size_t V = (size_t)work->V, C = (size_t)work->C;
    int failed = 0;
    for (int s = 0; s < SETS; s++) {
        failed |= !(work->sums[s].rows = calloc(C, sizeof(double)));
        failed |= !(work->sums[s].directions = calloc(C, sizeof(double)));
    }
    failed |= !(work->set = calloc(V, 1));
    failed |= !(work->reference = calloc(C, sizeof(double)));
    failed |= !(work->scores = calloc(V, sizeof *work->scores));
    failed |= !(work->distance = calloc(V, sizeof(double)));
    if (failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for the indicators of %d tokens", work->V);
    for (int i = 0, unused = 0; i < work->V; i++)
        work->set[i] = work->frequency->counts[i] ? USED : (unused++ % 2 ? HELD_OUT : REFERENCE);
    return 0;
}

static void sum_rows(struct work *work, const float *output)
{
    for (int i = 0; i < work->V; i++) {
        struct sums *sums = &work->sums[work->set[i]];
        const float *row = output + (int64_t)i * work->C;
        const double norm = norm_of(row, work->C);
        sums->n++;
        sums->n_directed += norm > 0;
        sums->norms += norm;
        for (int c = 0; c < work->C; c++) {
            sums->rows[c] += (double)row[c];
            sums->directions[c] += norm > 0 ? (double)row[c] / norm : 0;
        }
    }
}

/* The cloud of one or several sets together. The mean cosine over pairs of n unit vectors
 * with sum S is (|S|^2 - n) / (n (n - 1)). sum: room for [C]. */
static struct indicators_cloud cloud_of(const struct work *work, unsigned sets, double *sum)
{
    struct indicators_cloud cloud = {0};
    double norms = 0, directed = 0;
    const double *sums_of[SETS];
    for (int s = 0; s < SETS; s++)
        if (sets & 1u << s) {
            cloud.n += work->sums[s].n;
            directed += work->sums[s].n_directed;
            norms += work->sums[s].norms;
        }
    for (int which = 0; which < 2; which++) {
        memset(sum, 0, (size_t)work->C * sizeof *sum);
        for (int s = 0; s < SETS; s++) {
            sums_of[s] = which ? work->sums[s].directions : work->sums[s].rows;
            for (int c = 0; c < work->C && sets & 1u << s; c++)
                sum[c] += sums_of[s][c];
        }
        const double total = length(sum, work->C);
        if (which)
            cloud.mean_cosine =
                directed > 1 ? (total * total - directed) / (directed * (directed - 1)) : NAN;
        else
            cloud.mean_norm = cloud.n ? total / cloud.n : NAN;
    }
    cloud.row_norm = cloud.n ? norms / cloud.n : NAN;
    return cloud;
}

static double cosine(const double *a, const double *b, int C)
{
    double dot = 0;
    for (int c = 0; c < C; c++)
        dot += a[c] * b[c];
    return dot / (length(a, C) * length(b, C));
}

static int by_value(const void *a, const void *b)
{
    const double x = ((const struct score *)a)->value, y = ((const struct score *)b)->value;
    return (x > y) - (x < y);
}

/* Area under the curve (Mann & Whitney 1947) from sorted scores: for every used token the
 * share of held-out unused tokens with a lower score, ties half. Overall and by count class. */
static double area(struct score *scores, int n, double by_count[FREQUENCY_CLASSES])
{
    double wins[FREQUENCY_CLASSES] = {0}, used[FREQUENCY_CLASSES] = {0}, all = 0, all_used = 0;
    int64_t below = 0, unused = 0;
    qsort(scores, (size_t)n, sizeof *scores, by_value);
    for (int i = 0; i < n; i++)
        unused += !scores[i].count;
    for (int from = 0, to; from < n; from = to) {
        int64_t ties = 0;
        for (to = from; to < n && scores[to].value <= scores[from].value; to++)
            ties += !scores[to].count;
        for (int i = from; i < to; i++)
            if (scores[i].count) {
                const int at = frequency_class(scores[i].count);
                wins[at] += (double)below + (double)ties / 2;
                used[at]++;
            }
        below += ties;
    }
    for (int at = 0; at < FREQUENCY_CLASSES; at++) {
        by_count[at] = used[at] > 0 && unused ? wins[at] / (used[at] * (double)unused) : NAN;
        all += wins[at];
        all_used += used[at];
    }
    return all_used > 0 && unused ? all / (all_used * (double)unused) : NAN;
}

static void find_distances(struct work *work, const float *output, struct indicators *out)
{
    const double reference = length(work->reference, work->C);
    double held_out = 0, used = 0;
    int n = 0, n_held_out = 0;
    for (int i = 0; i < work->V; i++) {
        const float *row = output + (int64_t)i * work->C;
        double dot = 0;
        for (int c = 0; c < work->C; c++)
            dot += (double)row[c] * work->reference[c];
        work->distance[i] = 1 - dot / (norm_of(row, work->C) * reference);
        if (work->set[i] == REFERENCE || !isfinite(work->distance[i]))
            continue;
        work->scores[n++] = (struct score){work->distance[i], work->frequency->counts[i]};
        n_held_out += work->set[i] == HELD_OUT;
        *(work->set[i] == USED ? &used : &held_out) += work->distance[i];
    }
    out->distance_auc = area(work->scores, n, out->distance_auc_by_count);
    out->held_out_distance = n_held_out ? held_out / n_held_out : NAN;
    out->used_distance = n > n_held_out ? used / (n - n_held_out) : NAN;
}

/* Insertion into a short sorted list: INDICATORS_NEAREST is small. */
static void find_nearest(const struct work *work, struct indicators *out)
{
    for (int i = 0; i < work->V; i++) {
        const double distance = work->distance[i];
        if (work->set[i] != USED || !isfinite(distance))
            continue;
        int at = out->n_nearest < INDICATORS_NEAREST ? out->n_nearest++ : INDICATORS_NEAREST;
        for (; at > 0 && out->nearest[at - 1].distance > distance; at--)
            if (at < INDICATORS_NEAREST)
                out->nearest[at] = out->nearest[at - 1];
        if (at < INDICATORS_NEAREST) {
            out->nearest[at].id = i;
            out->nearest[at].distance = distance;
        }
    }
}

static void find_norms(struct work *work, const float *input, struct indicators *out)
{
    int n = 0;
    for (int i = 0; i < work->V; i++)
        if (work->set[i] != REFERENCE)
            work->scores[n++] = (struct score){norm_of(input + (int64_t)i * work->C, work->C),
                                               work->frequency->counts[i]};
    out->norm_auc = area(work->scores, n, out->norm_auc_by_count);
}

int indicators_of(const float *output, const float *input, int C, const struct frequency *frequency,
                  struct indicators *out, struct err *err)
{
    struct work work = {.V = frequency->vocab, .C = C, .frequency = frequency};
    if (work_open(&work, err)) {
        work_free(&work);
        return -1;
    }
    *out = (struct indicators){0};
    sum_rows(&work, output);
    const unsigned unused = 1u << REFERENCE | 1u << HELD_OUT;
    out->n_reference = work.sums[REFERENCE].n;
    out->n_held_out = work.sums[HELD_OUT].n;
    out->used = cloud_of(&work, 1u << USED, work.reference);
    out->all = cloud_of(&work, 1u << USED | unused, work.reference);
    out->unused = cloud_of(&work, unused, work.reference);
    for (int c = 0; c < C; c++)
        work.reference[c] = work.sums[REFERENCE].rows[c] + work.sums[HELD_OUT].rows[c];
    out->cosine_of_means = cosine(work.sums[USED].rows, work.reference, C);
    memcpy(work.reference, work.sums[REFERENCE].rows, (size_t)C * sizeof *work.reference);
    find_distances(&work, output, out);
    find_nearest(&work, out);
    find_norms(&work, input, out);
    work_free(&work);
    return 0;
}

double indicators_untrained_mean_norm(double init_std, int C, int n)
{
    return init_std * sqrt((double)C / n);
}
