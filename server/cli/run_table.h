/* run_table: the table an experiment ends with, after the study's section 4.3:
 * one column per group, one line per quantity, epoch 0 beside the last epoch,
 * the closed forms beside the measurement, and below it the study's claims,
 * judged. `tokenfate run` prints it from the records it received, `tokenfate
 * show` from the database. Pure functions of their arguments. */
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

/* The study's claims judged from one complete run: verdict, what was found and,
 * where a claim fails, why. */
void run_print_findings(FILE *out, const struct findings_run *run);

#endif
