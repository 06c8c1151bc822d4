/* labels: see labels.h. */
#include "server/api/labels.h"

#include <stdio.h>
#include <string.h>

#include "config/text_name.h"

static int labels_tag(const struct spec *spec, int i, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    snprintf(pointer, sizeof pointer, "/tags/%d", i);
    text_name_trim(spec->tags[i]);
    for (int j = 0; j < i; j++)
        if (strcmp(spec->tags[j], spec->tags[i]) == 0)
            return err_field(err, pointer, "\"%s\" is there twice", spec->tags[i]);
    return text_name_check_label(spec->tags[i], pointer, err);
}

static int labels_group(const struct spec *spec, int i, struct err *err)
{
    char pointer[ERR_POINTER_MAX], trimmed[RECORD_NAME_MAX];
    const char *name = spec->groups.custom[i].name;
    snprintf(pointer, sizeof pointer, "/groups/custom/%d/name", i);
    strcpy(trimmed, name);
    text_name_trim(trimmed);
    if (text_name_check_label(name, pointer, err))
        return -1;
    return strcmp(trimmed, name) == 0
               ? 0
               : err_field(err, pointer, "\"%s\" starts or ends with a blank", name);
}

int labels_clean(struct spec *spec, struct err *err)
{
    text_name_trim(spec->name);
    int bad = text_name_check_label(spec->name, "/name", err);
    for (int i = 0; i < spec->n_tags; i++)
        bad |= labels_tag(spec, i, err);
    for (int i = 0; i < spec->groups.n_custom; i++)
        bad |= labels_group(spec, i, err);
    return bad ? -1 : 0;
}
