/* qualify_checks: the checks by which a device proves itself, as one table. Caller: qualify.c, in a
 * process of its own. One thread drives the backend; others compute the reference. */
#ifndef TOKENFATE_QUALIFY_CHECKS_H
#define TOKENFATE_QUALIFY_CHECKS_H

#include "config/err.h"
#include "config/spec.h"
#include "gpu/backend.h"

enum { QUALIFY_NAME_MAX = 48, QUALIFY_WHERE_MAX = 80, QUALIFY_REASON_MAX = 256 };

/* What a check has found. error and bound are 0 where numbers are compared exactly. */
struct qualify_result {
    char name[QUALIFY_NAME_MAX];
    int cases; /* 0: not counted */
    double error, bound;
    char where[QUALIFY_WHERE_MAX]; /* of `error`; "" */
    char note[QUALIFY_WHERE_MAX];  /* what was measured besides; "" */
    enum err_code code;            /* ERR_NONE: it holds */
    char reason[QUALIFY_REASON_MAX];
    int64_t ms;
};

struct qualify_subject;

/* Name of check number i, NULL behind the last. */
const char *qualify_checks_name(int i, char name[QUALIFY_NAME_MAX]);

/* Open device `device` in a precision, and threads for the reference where all checks will run
 * (`is_whole`). ERR_UNAVAILABLE, ERR_NO_MEMORY, ERR_DEVICE. */
int qualify_checks_open(const char *device, enum spec_precision precision, const char *build,
                        int is_whole, struct qualify_subject **out, struct err *err);
void qualify_checks_close(struct qualify_subject *subject);

/* "sm_90, cuBLASLt 13.0.0, ...": backend.isa; and whether other programs used the card before. */
const char *qualify_checks_isa(const struct qualify_subject *subject);
int qualify_checks_others(const struct qualify_subject *subject);

/* What the backend says of itself so far (backend.notice), "" = nothing. */
const char *qualify_checks_notice(const struct qualify_subject *subject);

/* A short look at a device that has proved itself, before each job: long sums of ones and a small
 * step, recorded and replayed. ERR_DEVICE_WRONG: it does not compute as it did. Where there is no
 * room for it, nothing is looked at. */
int qualify_checks_look(struct backend *backend, struct err *err);

/* Run check number i. */
void qualify_checks_run(struct qualify_subject *subject, int i, struct qualify_result *out);

#endif
