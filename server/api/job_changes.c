/* job_changes: see job_changes.h. The patch is laid out as a spec and parsed as one, so that
 * no rule of a field is written twice. */
#include "server/api/job_changes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/input.h"
#include "server/api/after_json.h"
#include "server/api/labels.h"

#define CHANGES_SECTION "/resources"

char *job_changes_tags(const struct spec *spec)
{
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_array(&json, NULL);
    for (int i = 0; i < spec->n_tags; i++)
        emit_text(&json, NULL, spec->tags[i]);
    emit_end(&json);
    return emit_close_text(&json);
}

void job_changes_free(struct job_changes *changes)
{
    free(changes->name), free(changes->notes), free(changes->tags), free(changes->after);
    *changes = (struct job_changes){0};
}

/* {"resources": {key: value}} */
static int set_resource(json_t *spec, const char *key, json_t *value)
{
    json_t *resources = json_object_get(spec, "resources");
    if (resources)
        return json_object_set(resources, key, value);
    resources = json_object();
    return json_object_set(resources, key, value) |
           json_object_set_new(spec, "resources", resources);
}

/* The patch as a spec with only its fields (a new reference): priority and max_seconds go below
 * resources, urgent, pinned and after are no fields of a spec. Fields that cannot change are reported in err. */
static json_t *changes_layout(const json_t *patch, struct err *err)
{
    const char *key;
    json_t *value, *spec = json_object();
    char pointer[ERR_POINTER_MAX];
    int failed = !spec;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        snprintf(pointer, sizeof pointer, "/%.90s", key);
        if (strcmp(key, "name") == 0 || strcmp(key, "notes") == 0 || strcmp(key, "tags") == 0)
            failed |= json_object_set(spec, key, value);
        else if (strcmp(key, "priority") == 0 || strcmp(key, "max_seconds") == 0)
            failed |= set_resource(spec, key, value);
        else if (strcmp(key, "urgent") != 0 && strcmp(key, "pinned") != 0 &&
                 strcmp(key, "after") != 0)
            err_field(
                err, pointer,
                "only name, notes, tags, priority, max_seconds, urgent, pinned and after of a "
                "job can change");
        else if (strcmp(key, "after") != 0 && !json_is_boolean(value))
            err_field(err, pointer, "must be true or false");
    }
    if (!failed)
        return spec;
    json_decref(spec);
    err_set(err, ERR_NO_MEMORY, "no memory for a change");
    return NULL;
}

/* Add the faults of the spec to err, with pointers into the patch. */
static void changes_report(const struct err *bad, struct err *err)
{
    size_t n = strlen(CHANGES_SECTION);
    if (bad->code != ERR_INVALID || !bad->n_fields)
        *err = *bad;
    for (int i = 0; bad->code == ERR_INVALID && i < bad->n_fields; i++) {
        const char *pointer = bad->fields[i].pointer;
        err_field(err, strncmp(pointer, CHANGES_SECTION, n) == 0 ? pointer + n : pointer, "%s",
                  bad->fields[i].detail);
    }
}

static int changes_take(const json_t *patch, const struct spec *spec, struct job_changes *out,
                        struct err *err)
{
    const json_t *urgent = json_object_get(patch, "urgent");
    const json_t *pinned = json_object_get(patch, "pinned");
    struct job_changes taken = {.priority = spec->resources.priority,
                                .has_priority = json_object_get(patch, "priority") != NULL,
                                .max_seconds = spec->resources.max_seconds,
                                .has_seconds = json_object_get(patch, "max_seconds") != NULL,
                                .urgent = urgent ? json_is_true(urgent) : -1,
                                .pinned = json_is_true(pinned),
                                .has_pinned = pinned != NULL};
    int has_name = json_object_get(patch, "name") != NULL;
    int has_notes = json_object_get(patch, "notes") != NULL;
    int has_tags = json_object_get(patch, "tags") != NULL;
    if ((has_name && !(taken.name = strdup(spec->name))) ||
        (has_notes && !(taken.notes = strdup(spec->notes))) ||
        (has_tags && !(taken.tags = job_changes_tags(spec)))) {
        job_changes_free(&taken);
        return err_set(err, ERR_NO_MEMORY, "no memory for a change");
    }
    *out = taken;
    return 0;
}

static int changes_check(const json_t *patch, struct job_changes *out, struct err *err)
{
    struct spec *spec = NULL;
    struct err bad = ERR_INIT;
    const json_t *after = json_object_get(patch, "after");
    struct after_list *list = NULL;
    json_t *layout = changes_layout(patch, err);
    if (layout && after)
        after_json_read(after, "/after", &list, err);
    char *text = layout ? json_dumps(layout, JSON_COMPACT) : NULL;
    int result = text ? 0 : -1;
    json_decref(layout);
    if (layout && !text)
        err_set(err, ERR_NO_MEMORY, "no memory for a change");
    if (text && (spec_parse(text, strlen(text), &spec, &bad) || labels_clean(spec, &bad)))
        changes_report(&bad, err);
    free(text);
    if (result == 0 && err->code == ERR_NONE)
        result = changes_take(patch, spec, out, err);
    spec_free(spec);
    if (result || err->code != ERR_NONE) {
        free(list);
        return -1;
    }
    out->after = list;
    return 0;
}

int job_changes_parse(const char *json, size_t n, struct job_changes *out, struct err *err)
{
    json_t *patch = input_json(json, n, 0, err);
    if (!patch)
        return -1;
    int result = json_is_object(patch)
                     ? changes_check(patch, out, err)
                     : err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    json_decref(patch);
    return result;
}
