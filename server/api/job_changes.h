/* job_changes: what a PATCH asks to change of a job. The fields obey the rules of
 * the spec they stand in, because the stored spec changes with them and must
 * stay one that can be posted again. Any thread. */
#ifndef TOKENFATE_JOB_CHANGES_H
#define TOKENFATE_JOB_CHANGES_H

#include <stddef.h>

#include "config/err.h"
#include "config/spec.h"

struct job_changes {
    char *name, *notes; /* NULL: unchanged */
    char *tags;         /* JSON array */
    int priority, has_priority;
};

/* Read {"name", "notes", "tags", "priority"}, each optional. ERR_MALFORMED, or
 * ERR_INVALID with every bad field. */
int job_changes_parse(const char *json, size_t n, struct job_changes *out, struct err *err);
void job_changes_free(struct job_changes *changes);

/* Tags of a spec as a JSON array (malloc). NULL without memory. */
char *job_changes_tags(const struct spec *spec);

#endif
