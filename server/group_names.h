/* group_names: the names of a job's groups, split from the text that the database stores
 * ("most_common\nleast_common\n...").
 *
 * The printers of a job's records call it: handlers on pool and HTTP threads,
 * events/event_text on the hub thread. Pure; any thread. Invariant: name[] keeps the order
 * of the groups in the record vector. */
#ifndef TOKENFATE_GROUP_NAMES_H
#define TOKENFATE_GROUP_NAMES_H

#include "config/err.h"
#include "config/spec.h"

struct group_names {
    int n;
    const char *name[SPEC_GROUPS_MAX];
    char *text; /* owns the bytes of name[] */
};

/* ERR_NO_MEMORY. group_names_free frees; a struct of zeros is fine. */
int group_names_split(const char *text, struct group_names *out, struct err *err);
void group_names_free(struct group_names *names);

#endif
