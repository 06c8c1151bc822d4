/* spec_rules: conditions between the fields of a spec, as one table. Internal to the spec*.c
 * files: spec_parse evaluates it. Pure functions, any thread. */
#ifndef TOKENFATE_SPEC_RULES_H
#define TOKENFATE_SPEC_RULES_H

#include "config/spec.h"

enum { SPEC_RULE_FIELDS = 4 };

/* A rule is evaluated only if each field that it names is good by itself, so that no error
 * is reported twice. */
struct spec_rule {
    const char *fields[SPEC_RULE_FIELDS];                   /* pointers; NULL ends them */
    int (*check)(const struct spec *spec, struct err *err); /* -1 with err_field */
};
extern const struct spec_rule spec_rules[]; /* ends with check NULL */

#endif
