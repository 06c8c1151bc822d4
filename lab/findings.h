/* findings: the claims of the study (SCIENCE section 5), judged from the epoch records of
 * one run, or of several that differ in their seeds only. One table of claims, one of
 * numbers. A number is computed from the records of a run. It has a bound that was declared
 * before anything was measured, and its closed form beside it if there is one. The verdict
 * of a claim follows from those of its numbers.
 *
 * Called by the server (GET /jobs/{id}/findings) and the command line;
 * tests/api/findings.test.mjs recomputes everything from the CSV. No state, any thread.
 * Invariant: records are taken once, in order; a missing value is NaN and never enters a
 * mean. */
#ifndef TOKENFATE_FINDINGS_H
#define TOKENFATE_FINDINGS_H

#include <stdint.h>

#include "config/record.h"
#include "config/spec.h"
#include "lab/frequency.h"
#include "lab/groups.h"
#include "lab/statistics.h"

enum {
    FINDINGS_TEXT = 512,      /* bytes of a sentence, with its zero */
    FINDINGS_NUMBERS_MAX = 9, /* of one claim */
    FINDINGS_RUNS_MAX = 64    /* runs judged together; each is a whole run to read */
};

/* "Equal" is within 0.1 nats: probabilities that differ by less than about 10 %. "Near the
 * untrained level" is within 1 nat, a factor of e. */
#define FINDINGS_MARGIN 0.1
#define FINDINGS_NEAR 1.0

enum findings_claim {
    FINDINGS_VOCABULARY,
    FINDINGS_UNTRAINED,
    FINDINGS_BATCH,
    FINDINGS_COMMON,
    FINDINGS_RARE,
    FINDINGS_EMBEDDINGS,
    FINDINGS_MASS,
    FINDINGS_CLAIMS
};

enum findings_verdict {
    FINDINGS_SUPPORTED,
    FINDINGS_NOT_SUPPORTED,
    FINDINGS_UNDETERMINED, /* the interval reaches across the bound, or some runs have no value */
    /* The run has no value for it, or a group does not hold what its name says. */
    FINDINGS_NOT_TESTABLE,
    FINDINGS_SHOWN /* shown beside the judged numbers; decides nothing */
};

/* What remains of the records of a run. Filled by findings_open and findings_take. */
struct findings_run {
    const struct spec *spec; /* borrowed, like the next two */
    const struct frequency *frequency;
    const struct groups *groups;
    int64_t last;     /* epoch of the last record that will come */
    int64_t end_from; /* first epoch of the last tenth of the records, which has at least one */
    int64_t start_to; /* end of the first tenth, which has as many records */
    int64_t steps;    /* optimiser updates before the last record */
    double first[RECORD_SCALARS + SPEC_GROUPS_MAX * RECORD_FIELDS]; /* epoch 0 */
    double final[RECORD_SCALARS + SPEC_GROUPS_MAX * RECORD_FIELDS]; /* epoch `last` */
    struct findings_mean {
        double sum;
        int64_t n;
    } all[RECORD_SCALARS + SPEC_GROUPS_MAX * RECORD_FIELDS], /* over epochs with a value */
        end[RECORD_SCALARS + SPEC_GROUPS_MAX * RECORD_FIELDS],
        early_advantage; /* of most_common, over the first tenth */
    /* Of most_common minus never_used, and of most_common alone, under each mask and without
     * one: (x0 - 2 x1 + x2)^2 / 6 over three consecutive records at even distances that have
     * a value under both. */
    struct findings_roughness {
        struct findings_mean masked, plain;
    } comparison[MASKS], alone[MASKS];
    double before[MASKS][2], before_alone[MASKS][2];
};

/* One number of a claim. */
struct findings_number {
    const char *id, *what;
    const char *form;           /* SCIENCE's number of the closed form, or NULL */
    struct statistics measured; /* over runs: n, mean, sd, half width of the 95 % interval */
    double closed;              /* mean over runs, NaN without one */
    double low, high;           /* supported between these; infinite without a bound */
    enum findings_verdict verdict;
};

struct finding {
    enum findings_claim claim;
    const char *id, *section, *sentence; /* the claim, and its section in the study */
    const char *rule;
    enum findings_verdict verdict;
    int runs; /* judged together */
    int n;
    struct findings_number number[FINDINGS_NUMBERS_MAX];
    char measured[FINDINGS_TEXT]; /* the measured numbers in words */
    char cause[FINDINGS_TEXT];    /* why the claim is not supported; "" if it is */
};

/* Start a run of records 0 .. last (>= 0), with steps_per_epoch updates ("pass" resolved)
 * between two records. */
void findings_open(struct findings_run *run, const struct spec *spec,
                   const struct frequency *frequency, const struct groups *groups, int64_t last,
                   int64_t steps_per_epoch);

/* Take the record of an epoch: each once, in order. */
void findings_take(struct findings_run *run, int64_t epoch, const double *values);

/* Judge n >= 1 complete runs whose specs differ in their seeds only. The 95 % interval of
 * the mean over seeds must lie inside the bounds (supported) or outside (not supported),
 * else the number is undetermined, as is one that some runs lack. The value of a single run
 * is judged as it is, and the words say "in this run". */
void findings_judge(const struct findings_run *runs, int n, struct finding out[FINDINGS_CLAIMS]);

/* "supported", "not supported", "undetermined", "not testable here", "shown". */
const char *findings_verdict_name(enum findings_verdict verdict);

#endif
