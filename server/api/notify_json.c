/* notify_json: see notify_json.h. */
#include "server/api/notify_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/input.h"
#include "config/pointer.h"
#include "config/spec_kind.h"
#include "server/notify/reach.h"
#include "server/redact.h"

/* ---- requests ---- */

static void read_url(const json_t *value, const char *pointer, struct notify_target *out,
                     struct err *err)
{
    const char *url = json_string_value(value);
    if (!url)
        err_field(err, pointer, "must be an http or https address");
    else if (!reach_check_url(url, pointer, err))
        snprintf(out->url, sizeof out->url, "%s", url);
}

static int event_of(const json_t *value)
{
    const char *name = json_string_value(value);
    for (int event = NOTIFY_SUCCEEDED; name && event <= NOTIFY_HELD; event <<= 1)
        if (strcmp(notify_event_name((enum notify_event)event), name) == 0)
            return event;
    return 0;
}

static void read_events(const json_t *value, const char *pointer, struct notify_target *out,
                        struct err *err)
{
    size_t i;
    json_t *entry;
    out->events = 0;
    if (!json_is_array(value) || !json_array_size(value)) {
        err_field(err, pointer, "must be a list of succeeded, failed and held");
        return;
    }
    json_array_foreach(value, i, entry)
    {
        char at[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
        const int event = event_of(entry);
        pointer_index(at, pointer, i);
        if (!event)
            err_field(err, at, "%s is not succeeded, failed or held", spec_quote(entry, quoted));
        out->events |= event;
    }
}

static void read_format(const json_t *value, const char *pointer, struct notify_target *out,
                        struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    const char *name = json_string_value(value);
    const int format = name ? notify_format_from_name(name) : -1;
    if (format < 0)
        err_field(err, pointer, "%s is not json, slack or ntfy", spec_quote(value, quoted));
    else
        out->format = (enum notify_format)format;
}

static const struct {
    const char *key;
    void (*read)(const json_t *value, const char *pointer, struct notify_target *out,
                 struct err *err);
} members[] = {{"url", read_url}, {"on", read_events}, {"format", read_format}};
enum { MEMBERS = sizeof members / sizeof members[0] };

int notify_json_read(const json_t *value, const char *pointer, struct notify_target *out,
                     struct err *err)
{
    const int known = err->n_fields;
    const char *key;
    json_t *member;
    struct notify_target target = {.events = NOTIFY_ALL, .format = NOTIFY_JSON};
    char at[ERR_POINTER_MAX];
    if (!json_is_object(value))
        return err_field(err, pointer, "must be an object with url, on and format");
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        int i = 0;
        while (i < MEMBERS && strcmp(members[i].key, key) != 0)
            i++;
        pointer_member(at, pointer, key);
        if (i < MEMBERS)
            members[i].read(member, at, &target, err);
        else
            err_field(err, at, "no such field; there are url, on and format");
    }
    pointer_member(at, pointer, "url");
    if (!json_object_get(value, "url"))
        err_field(err, at, "is missing");
    if (err->n_fields > known)
        return -1;
    *out = target;
    return 0;
}

static int read_list(const json_t *value, struct notify_list *out, struct err *err)
{
    size_t i;
    json_t *entry;
    int failed = 0;
    if (!json_is_array(value) || json_array_size(value) > NOTIFY_TARGETS_MAX)
        return err_field(err, "/notify", "must be a list of at most %d addresses",
                         NOTIFY_TARGETS_MAX);
    json_array_foreach(value, i, entry)
    {
        char at[ERR_POINTER_MAX];
        pointer_index(at, "/notify", i);
        failed |= notify_json_read(entry, at, &out->targets[i], err);
    }
    out->n = failed ? 0 : (int)json_array_size(value);
    return failed;
}

int notify_json_split(const char *body, size_t n, char **rest, struct notify_list *out,
                      struct err *err)
{
    struct err ignored = ERR_INIT; /* who reads the rest says what is wrong with such a body */
    json_t *root = input_json(body ? body : "", n, 0, &ignored);
    const json_t *notify = json_object_get(root, "notify");
    int result = notify ? read_list(notify, out, err) : 0;
    if (notify && (json_object_del(root, "notify") || !(*rest = spec_dumps(root))))
        result = err_set(err, ERR_NO_MEMORY, "no memory for a job");
    json_decref(root);
    return result;
}

int notify_json_blame(const struct err *list, struct err *err)
{
    if (list->code == ERR_NONE)
        return 0;
    if (!list->n_fields)
        *err = *list;
    for (int i = 0; i < list->n_fields; i++)
        err_field(err, list->fields[i].pointer, "%s", list->fields[i].detail);
    return -1;
}

/* ---- answers ---- */

void notify_json_emit(struct emit *json, const struct notify_target *target, int with_id)
{
    char shown[256];
    redact_url(target->url, shown, sizeof shown);
    emit_object(json, NULL);
    if (with_id)
        emit_text(json, "id", target->id);
    emit_text(json, "url", shown);
    emit_array(json, "on");
    for (int event = NOTIFY_SUCCEEDED; event <= NOTIFY_HELD; event <<= 1)
        if (target->events & event)
            emit_text(json, NULL, notify_event_name((enum notify_event)event));
    emit_end(json);
    emit_text(json, "format", notify_format_name(target->format));
    emit_end(json);
}

int notify_json_emit_list(struct emit *json, struct db_reader *reader,
                          const struct notify_owner *owner, struct err *err)
{
    struct notify_list *list = malloc(sizeof *list);
    const int failed = !list ? err_set(err, ERR_NO_MEMORY, "no memory for a list of addresses")
                             : notify_targets(reader, owner, list, err);
    emit_array(json, "notify");
    for (int i = 0; !failed && i < list->n; i++)
        notify_json_emit(json, &list->targets[i], 0);
    emit_end(json);
    free(list);
    return failed;
}
