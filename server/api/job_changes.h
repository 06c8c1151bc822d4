/* job_changes: the changes that a PATCH of a job asks for, and tags as the database keeps
 * them. Called by jobs.c (HTTP thread) and submission.c (pool). Pure.
 *
 * The changed fields obey the rules of the spec: the stored spec changes with them and must
 * stay one that can be posted again. */
#ifndef TOKENFATE_JOB_CHANGES_H
#define TOKENFATE_JOB_CHANGES_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "db/after.h"

struct job_changes {
    char *name, *notes; /* NULL: unchanged */
    char *tags;         /* JSON array; NULL: unchanged */
    int priority, has_priority;
    int64_t max_seconds;
    int has_seconds;
    int urgent; /* 1, 0, -1: unchanged */
    int pinned, has_pinned;
    struct after_list *after; /* NULL: unchanged */
};

/* Read {"name", "notes", "tags", "priority", "max_seconds", "urgent", "pinned", "after"}, each optional.
 * ERR_MALFORMED, or ERR_INVALID with every bad field. */
int job_changes_parse(const char *json, size_t n, struct job_changes *out, struct err *err);
void job_changes_free(struct job_changes *changes);

/* Tags of a spec as a JSON array (malloc). NULL without memory. */
char *job_changes_tags(const struct spec *spec);

#endif
