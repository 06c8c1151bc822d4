/* bulk: see bulk.h. The texts of a struct bulk are those of the parsed body, which lives as long
 * as the request. Files of deleted jobs are set aside in the transaction and removed after its
 * commit, as for one job (jobs.c). */
#include "server/api/bulk.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/input.h"
#include "config/log.h"
#include "config/pointer.h"
#include "config/spec_kind.h"
#include "db/bulk.h"
#include "server/api/job_changes.h"
#include "server/api/job_query.h"
#include "server/api/jobs.h"
#include "server/api/submission.h"
#include "server/http/auth.h"
#include "server/queue/job_files.h"

struct post {
    json_t *body;
    struct bulk bulk;
    char *ids, *terms, *add, *remove; /* JSON arrays */
    int dry_run;
    struct bulk_outcome out;
    char (*aside)[DB_ID_MAX]; /* jobs whose files are set aside */
    int n_aside;
};

static void post_free(void *state)
{
    struct post *post = state;
    json_decref(post->body);
    free(post->ids), free(post->terms), free(post->add), free(post->remove);
    free(post->aside);
    free(post);
}

/* ---- the body ---- */

static const struct {
    const char *name;
    enum bulk_action action;
} actions[] = {
    {"cancel", BULK_CANCEL},     {"hold", BULK_HOLD},     {"release", BULK_RELEASE},
    {"retry", BULK_RETRY},       {"delete", BULK_DELETE}, {"tag", BULK_TAG},
    {"priority", BULK_PRIORITY},
};

/* Refuse what is not in the list of names, which ends with NULL. */
static void check_keys(const json_t *object, const char *at, const char *const *names,
                       struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
        int i = 0;
        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        pointer_member(pointer, at, key);
        if (!names[i])
            err_field(err, pointer, "no such field (its value is %s)", spec_quote(value, quoted));
    }
}

/* A member that is one of two words; 1: it is the second one. */
static int read_word(const json_t *body, const char *key, const char *first, const char *second,
                     struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    const json_t *value = json_object_get(body, key);
    const char *word = value ? json_string_value(value) : first;
    if (word && strcmp(word, second) == 0)
        return 1;
    pointer_member(pointer, "", key);
    if (!word || strcmp(word, first) != 0)
        err_field(err, pointer, "%s is neither \"%s\" nor \"%s\"", spec_quote(value, quoted), first,
                  second);
    return 0;
}

static void read_action(const json_t *body, struct bulk *bulk, struct err *err)
{
    const char *name = json_string_value(json_object_get(body, "action"));
    const size_t n = sizeof actions / sizeof *actions;
    size_t i = 0;
    while (name && i < n && strcmp(actions[i].name, name) != 0)
        i++;
    if (!name || i == n)
        err_field(err, "/action",
                  "\"%.40s\" is none of cancel, hold, release, retry, delete, tag "
                  "and priority",
                  name ? name : "");
    else
        bulk->action = actions[i].action;
}

/* The members that one action alone has. */
static void check_belongs(const json_t *body, const struct bulk *bulk, struct err *err)
{
    static const struct {
        const char *key;
        enum bulk_action action;
    } members[] = {
        {"from", BULK_RETRY}, {"add", BULK_TAG}, {"remove", BULK_TAG}, {"priority", BULK_PRIORITY}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char pointer[ERR_POINTER_MAX];
        pointer_member(pointer, "", members[i].key);
        if (json_object_get(body, members[i].key) && members[i].action != bulk->action)
            err_field(err, pointer, "belongs to another action");
    }
}

/* A member as a PATCH of one job has it as `field`; its errors name the member. */
static int read_change(const json_t *body, const char *key, const char *field,
                       struct job_changes *out, struct err *err)
{
    json_t *patch = json_object();
    char *text = json_object_set(patch, field, json_object_get(body, key))
                     ? NULL
                     : json_dumps(patch, JSON_COMPACT);
    struct err bad = ERR_INIT;
    const int failed = text ? job_changes_parse(text, strlen(text), out, &bad)
                            : err_set(err, ERR_NO_MEMORY, "no memory for a change");
    for (int i = 0; i < bad.n_fields; i++) {
        char pointer[ERR_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/%s%.80s", key,
                 bad.fields[i].pointer + 1 + strlen(field));
        err_field(err, pointer, "%s", bad.fields[i].detail);
    }
    if (failed && bad.code != ERR_NONE && !bad.n_fields)
        *err = bad;
    free(text);
    json_decref(patch);
    return failed ? -1 : 0;
}

static char *read_tags(const json_t *body, const char *key, struct err *err)
{
    struct job_changes changes = {0};
    if (!json_object_get(body, key))
        return strdup("[]");
    return read_change(body, key, "tags", &changes, err) ? NULL : changes.tags;
}

static void read_tag_changes(struct post *post, struct err *err)
{
    post->bulk.add = post->add = read_tags(post->body, "add", err);
    post->bulk.remove = post->remove = read_tags(post->body, "remove", err);
    if (!post->add || !post->remove)
        return;
    json_t *add = json_loads(post->add, 0, NULL), *remove = json_loads(post->remove, 0, NULL);
    if (!json_array_size(add) && !json_array_size(remove))
        err_field(err, "/add", "is missing, and so is remove: there is no tag to change");
    for (size_t i = 0; i < json_array_size(add); i++)
        for (size_t j = 0; j < json_array_size(remove); j++)
            if (json_equal(json_array_get(add, i), json_array_get(remove, j)))
                err_field(err, "/remove", "\"%s\" is to be added too",
                          json_string_value(json_array_get(add, i)));
    json_decref(add);
    json_decref(remove);
}

static void read_arguments(struct post *post, struct err *err)
{
    struct job_changes changes = {0};
    struct bulk *bulk = &post->bulk;
    check_belongs(post->body, bulk, err);
    if (bulk->action == BULK_RETRY && read_word(post->body, "from", "checkpoint", "start", err))
        bulk->action = BULK_RESTART;
    if (bulk->action == BULK_TAG)
        read_tag_changes(post, err);
    if (bulk->action == BULK_PRIORITY && !json_object_get(post->body, "priority"))
        err_field(err, "/priority", "is missing");
    else if (bulk->action == BULK_PRIORITY &&
             !read_change(post->body, "priority", "priority", &changes, err))
        bulk->priority = changes.priority;
}

static void read_ids(struct post *post, const json_t *ids, struct err *err)
{
    size_t i;
    json_t *id;
    if (!json_is_array(ids) || !json_array_size(ids) || json_array_size(ids) > BULK_MAX) {
        err_field(err, "/filter/ids", "must be a list of 1 to %d ids", BULK_MAX);
        return;
    }
    json_array_foreach(ids, i, id)
    {
        char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
        pointer_index(pointer, "/filter/ids", i);
        if (!json_is_string(id))
            err_field(err, pointer, "%s is not a job's id", spec_quote(id, quoted));
    }
    post->bulk.filter.ids = post->ids = json_dumps(ids, JSON_COMPACT);
}

static void read_filter(const struct request *request, struct post *post, struct err *err)
{
    static const char *const names[] = {"state", "user", "tag", "sweep", "q", "ids", NULL};
    struct job_filter *filter = &post->bulk.filter;
    const char *query = NULL;
    const char **const texts[] = {&filter->state, &filter->user, &filter->tag, &filter->sweep,
                                  &query};
    const json_t *given = json_object_get(post->body, "filter");
    if (!json_is_object(given) || !json_object_size(given)) {
        err_field(err, "/filter",
                  "must be an object with state, user, tag, sweep, q or ids: "
                  "nothing is done to all jobs by mistake");
        return;
    }
    check_keys(given, "/filter", names, err);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const json_t *value = json_object_get(given, names[i]);
        char pointer[ERR_POINTER_MAX];
        pointer_member(pointer, "/filter", names[i]);
        if (value && !json_string_length(value))
            err_field(err, pointer, "must be a text, and not an empty one");
        *texts[i] = json_string_value(value);
    }
    if (filter->state && *filter->state)
        jobs_check_states(filter->state, "/filter/state", err);
    if (query && *query &&
        job_query_parse(query, "/filter/q", request->user.name, &post->terms, err) == 0)
        filter->terms = post->terms;
    if (json_object_get(given, "ids"))
        read_ids(post, json_object_get(given, "ids"), err);
}

static int post_read(const struct request *request, struct post *post, struct err *err)
{
    static const char *const names[] = {"filter", "action", "unfit",    "dry_run", "from",
                                        "add",    "remove", "priority", NULL};
    post->body = input_json(request->body ? request->body : "", request->n_body, 0, err);
    if (!post->body)
        return -1;
    if (!json_is_object(post->body))
        return err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    const json_t *dry_run = json_object_get(post->body, "dry_run");
    check_keys(post->body, "", names, err);
    read_action(post->body, &post->bulk, err);
    read_filter(request, post, err);
    if (!err->n_fields)
        read_arguments(post, err);
    post->bulk.skip = read_word(post->body, "unfit", "refuse", "skip", err);
    if (dry_run && !json_is_boolean(dry_run))
        err_field(err, "/dry_run", "must be true or false");
    post->dry_run = json_is_true(dry_run);
    return err->code == ERR_NONE ? 0 : -1;
}

/* ---- doing it ---- */

static int may_change(void *self, const char *user, struct err *err)
{
    return auth_may_change(self, user, err);
}

static int set_aside(void *self, const char *id, struct err *err)
{
    const struct request *request = self;
    struct post *post = request->state;
    if (job_files_set_aside(&request->server->settings, id, err))
        return -1;
    memcpy(post->aside[post->n_aside++], id, DB_ID_MAX);
    return 0;
}

static int post_run(struct db_writer *writer, void *arg, struct err *err)
{
    struct post *post = arg;
    return bulk_run(writer, &post->bulk, &post->out, err);
}

/* After the transaction: the files that were set aside go, or come back. */
static void post_files(const struct request *request, const struct post *post, int failed)
{
    const struct settings *settings = &request->server->settings;
    for (int i = 0; i < post->n_aside; i++) {
        struct err err = ERR_INIT;
        if (failed)
            job_files_put_back(settings, post->aside[i]);
        else if (job_files_remove(settings, post->aside[i], &err))
            log_line(LOG_WARNING, "%s", err.message); /* the next start removes them */
    }
}

static int post_do(struct request *request, struct post *post, struct err *err)
{
    post->bulk.self = request;
    post->bulk.may = may_change;
    post->bulk.deleted = set_aside;
    post->bulk.max_tags = SPEC_TAGS_MAX;
    if (post->dry_run)
        return bulk_try(request->reader, &post->bulk, &post->out, err);
    if (post->bulk.action == BULK_DELETE && !(post->aside = calloc(BULK_MAX, sizeof *post->aside)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a list of jobs");
    const int failed = db_call_as(request->server->db, request->user.name, post_run, post, err);
    post_files(request, post, failed);
    if (!failed)
        submission_wake(request);
    return failed;
}

static void write_outcome(struct emit *json, const struct post *post)
{
    const struct bulk_outcome *out = &post->out;
    emit_object(json, NULL);
    emit_text(json, "action", json_string_value(json_object_get(post->body, "action")));
    emit_bool(json, "dry_run", post->dry_run);
    emit_integer(json, "matched", out->matched);
    emit_integer(json, "done", out->done);
    emit_integer(json, "unfit", out->unfit);
    emit_array(json, "jobs");
    for (int i = 0; i < out->n_shown; i++)
        emit_text(json, NULL, out->shown[i]);
    emit_end(json);
    emit_array(json, "refused");
    for (int i = 0; i < out->n_refused; i++) {
        emit_object(json, NULL);
        emit_text(json, "job", out->refused[i].id);
        emit_text(json, "code", err_name(out->refused[i].code));
        emit_text(json, "detail", out->refused[i].message);
        emit_end(json);
    }
    emit_end(json);
    emit_end(json);
}

enum request_result api_jobs_bulk(struct request *request)
{
    struct post *post = calloc(1, sizeof *post);
    struct request_buffer buffer;
    if (!post) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a change");
        return request_fail(request, &request->err);
    }
    request->state = post;
    request->free_state = post_free;
    if (post_read(request, post, &request->err) || post_do(request, post, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    write_outcome(&buffer.json, post);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}
