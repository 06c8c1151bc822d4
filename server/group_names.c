/* group_names: see group_names.h. */
#include "server/group_names.h"

#include <stdlib.h>
#include <string.h>

int group_names_split(const char *text, struct group_names *out, struct err *err)
{
    struct group_names names = {0};
    if (!(names.text = strdup(text)))
        return err_set(err, ERR_NO_MEMORY, "no memory for group names");
    for (char *at = names.text, *name; (name = strsep(&at, "\n"));)
        if (*name && names.n < SPEC_GROUPS_MAX)
            names.name[names.n++] = name;
    *out = names;
    return 0;
}

void group_names_free(struct group_names *names)
{
    free(names->text);
    *names = (struct group_names){0};
}
