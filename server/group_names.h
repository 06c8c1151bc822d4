/* group_names: the names of a job's groups, from the text that the database
 * keeps ("most_common\nleast_common\n..."). Pure; any thread. */
#ifndef TOKENFATE_GROUP_NAMES_H
#define TOKENFATE_GROUP_NAMES_H

#include "config/err.h"
#include "config/spec.h"

struct group_names {
    int n;
    const char *name[SPEC_GROUPS_MAX];
    char *text; /* what name[] points into */
};

int group_names_split(const char *text, struct group_names *out, struct err *err);
void group_names_free(struct group_names *names);

#endif
