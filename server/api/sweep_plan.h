/* sweep_plan: a posted sweep as a list of specs, one for every combination of the values of
 * `vary` put into `base`. Fields of `vary` are named as in the spec, with dots
 * ("train.seed"). Seeds repeat a setting; every other field makes one. Called by sweeps.c on
 * pool threads. Pure. */
#ifndef TOKENFATE_SWEEP_PLAN_H
#define TOKENFATE_SWEEP_PLAN_H

#include <jansson.h>
#include <stddef.h>

#include "config/err.h"
#include "config/spec.h"
#include "db/after.h"

enum {
    SWEEP_JOBS_MAX = 1000, /* a week of one GPU at ten minutes each */
    SWEEP_FIELDS_MAX = 16  /* varied fields; two values each would be 65,536 jobs */
};

struct sweep_plan {
    char *name;               /* "name", or the name of the base */
    char *base, *vary;        /* JSON as posted */
    int64_t max_running;      /* jobs that run at once, 0: no limit */
    int n;                    /* jobs, in the order of `vary`, its last field fastest */
    struct spec **spec;       /* [n] */
    char **setting;           /* [n] JSON: the varied fields with their values */
    struct after_list *after; /* what every job waits for, beside the spec of the base; NULL */
};

/* ERR_MALFORMED (as spec_parse), or ERR_INVALID with every bad field: of the sweep ("/vary"), of
 * the base ("/base/model/d_model") or of a value ("/vary/model.tie"). */
int sweep_plan_parse(const char *body, size_t n, struct sweep_plan **out, struct err *err);
void sweep_plan_free(struct sweep_plan *plan);

/* ERR_INVALID if two jobs are the same run: its seed or setting would count twice. Names,
 * notes and tags do not distinguish runs; nor does train.seed where the other seeds are all
 * given and override it. */
int sweep_plan_check_distinct(const struct sweep_plan *plan, struct err *err);

/* Read a limit of running jobs: 1 to SWEEP_JOBS_MAX, null is *out 0: none. ERR_INVALID. */
int sweep_plan_read_limit(const json_t *value, int64_t *out, struct err *err);

/* 1 if a varied field repeats a setting: train.seed and the seeds beside it. */
int sweep_plan_is_seed(const char *field);

/* Add the bad fields of one of the plan's specs to err, with pointers into the posted sweep.
 * A field that err has with the same detail is not added again. */
void sweep_plan_blame(const struct sweep_plan *plan, int job, const struct err *bad,
                      struct err *err);

#endif
