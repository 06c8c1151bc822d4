/* run_table: the closing table of an experiment, after the study's section 4.3: one column per
 * group, one line per quantity, epoch 0 beside the last epoch, closed forms beside the
 * measurements; below it the study's claims with a verdict. `tokenfate run` prints it from the
 * records that it received, `tokenfate show` from the database. Pure but for `out`. */
#ifndef TOKENFATE_RUN_TABLE_H
#define TOKENFATE_RUN_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "config/spec.h"
#include "lab/dataset.h"
#include "lab/findings.h"

struct run_table {
    const struct spec *spec;
    const struct dataset *dataset; /* the spec's: groups and counts */
    int64_t epoch;                 /* of `last` */
    const double *first, *last;    /* records of epoch 0 and `epoch`, [record_size(groups)] */
};

void run_print_table(FILE *out, const struct run_table *table);

/* The study's claims, judged from one complete run: verdict, measurement and, if a claim fails,
 * the cause. diverged: NULL, or the sentence that replaces all verdicts. */
void run_print_findings(FILE *out, const struct findings_run *run, const char *diverged);

#endif
