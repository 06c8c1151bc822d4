/* labels: the names in a spec that somebody posts. spec_parse reads stored specs too, so what
 * is asked of new names alone stands here. Pure. */
#ifndef TOKENFATE_LABELS_H
#define TOKENFATE_LABELS_H

#include "config/err.h"
#include "config/spec.h"

/* Trim name and tags, and check them and the names of the groups (text_name.h). ERR_INVALID
 * with every bad one; a tag that is there twice once it is trimmed, and a group whose name
 * has a blank at an end, which /data/oversample/group could not tell from another. */
int labels_clean(struct spec *spec, struct err *err);

#endif
