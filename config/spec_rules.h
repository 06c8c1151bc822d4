/* spec_rules: what must hold between the fields of a spec, as one table. Internal to the
 * spec*.c files: spec_parse runs it. Pure functions, any thread. */
#ifndef TOKENFATE_SPEC_RULES_H
#define TOKENFATE_SPEC_RULES_H

#include "config/spec.h"

enum { SPEC_RULE_FIELDS = 4 };

/* A rule is checked only if each field that it names is good by itself. */
struct spec_rule {
    const char *fields[SPEC_RULE_FIELDS];                   /* pointers; NULL ends them */
    int (*check)(const struct spec *spec, struct err *err); /* -1 with err_field */
};
extern const struct spec_rule spec_rules[]; /* ends with check NULL */

#endif
