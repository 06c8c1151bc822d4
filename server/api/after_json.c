/* after_json: see after_json.h. */
#include "server/api/after_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/input.h"
#include "config/pointer.h"
#include "config/spec_kind.h"

/* ---- requests ---- */

static void after_check_keys(const json_t *entry, const char *at, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        char pointer[ERR_POINTER_MAX];
        pointer_member(pointer, at, key);
        if (strcmp(key, "job") != 0 && strcmp(key, "state") != 0)
            err_field(err, pointer, "no such field; there are job and state");
    }
}

static void after_read_state(const json_t *value, const char *at, int *any, struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    const char *state = value ? json_string_value(value) : "succeeded";
    *any = state && strcmp(state, "any") == 0;
    if (*any || (state && strcmp(state, "succeeded") == 0))
        return;
    pointer_member(pointer, at, "state");
    err_field(err, pointer, "%s is neither \"succeeded\" nor \"any\"", spec_quote(value, quoted));
}

static void after_read_job(const json_t *value, const char *at, struct after_list *list,
                           struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    const char *id = json_string_value(value);
    char *job = list->entry[list->n].job;
    pointer_member(pointer, at, "job");
    if (!id)
        err_field(err, pointer, "%s is not a job's id", value ? spec_quote(value, quoted) : "null");
    else if (strlen(id) >= DB_ID_MAX)
        err_field(err, pointer, "there is no job %.60s", id);
    for (int i = 0; id && i < list->n; i++)
        if (strcmp(list->entry[i].job, id) == 0)
            err_field(err, pointer, "job %.36s stands there twice", id);
    snprintf(job, DB_ID_MAX, "%s", id ? id : "");
}

int after_json_read(const json_t *value, const char *pointer, struct after_list **out,
                    struct err *err)
{
    const int known = err->n_fields;
    size_t i;
    json_t *entry;
    if (!json_is_array(value))
        return err_field(err, pointer, "must be a list of {\"job\": id, \"state\": \"succeeded\"}");
    if (json_array_size(value) > AFTER_MAX)
        return err_field(err, pointer, "%zu jobs; a job waits for at most %d",
                         json_array_size(value), AFTER_MAX);
    struct after_list *list = calloc(1, sizeof *list);
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for a list of jobs");
    list->pointer = pointer;
    json_array_foreach(value, i, entry)
    {
        char at[ERR_POINTER_MAX];
        pointer_index(at, pointer, i);
        if (!json_is_object(entry)) {
            err_field(err, at, "must be {\"job\": id, \"state\": \"succeeded\"}");
            continue;
        }
        after_check_keys(entry, at, err);
        after_read_state(json_object_get(entry, "state"), at, &list->entry[list->n].any, err);
        after_read_job(json_object_get(entry, "job"), at, list, err);
        list->n++;
    }
    if (err->n_fields > known) {
        free(list);
        return -1;
    }
    *out = list;
    return 0;
}

int after_json_split(const char *body, size_t n, char **rest, struct after_list **out,
                     struct err *err)
{
    struct err ignored = ERR_INIT; /* who reads the spec says what is wrong with such a body */
    json_t *root = input_json(body, n, 0, &ignored);
    const json_t *after = json_object_get(root, "after");
    int result = after ? after_json_read(after, "/after", out, err) : 0;
    if (after && (json_object_del(root, "after") || !(*rest = spec_dumps(root))))
        result = err_set(err, ERR_NO_MEMORY, "no memory for a job");
    json_decref(root);
    return result;
}

/* ---- answers ---- */

static void after_emit_row(void *self, const struct after_edge *edge)
{
    struct emit *json = self;
    emit_object(json, NULL);
    emit_text(json, "job", edge->id);
    emit_text(json, "state", edge->any ? "any" : "succeeded");
    emit_text(json, "name", edge->name);
    emit_text(json, "job_state", edge->state);
    emit_end(json);
}

int after_json_emit(struct emit *json, struct db_reader *reader, const char *id, int with_waiting,
                    struct err *err)
{
    emit_array(json, "after");
    if (after_read(reader, id, after_emit_row, json, err))
        return -1;
    emit_end(json);
    if (!with_waiting)
        return 0;
    emit_array(json, "awaited_by");
    if (after_read_waiting(reader, id, AFTER_JSON_SHOWN_MAX, after_emit_row, json, err))
        return -1;
    emit_end(json);
    return 0;
}
