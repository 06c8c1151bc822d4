/* jobs: see jobs.h. */
#include "server/cli/jobs.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/input.h"
#include "config/spec.h"
#include "server/cli/remote.h"

enum {
    JOBS_RECORDS_PER_PAGE = 500, /* some 2 MB in memory */
    JOBS_IDS_MAX = 10000,        /* more words no shell passes */
    JOBS_LIST_DEFAULT = 30,      /* a screen */
    JOBS_LIST_MAX = 200,         /* as many as the server gives */
    JOBS_CELL_MAX = 600,         /* bytes; a sentence that says why a job waits */
    JOBS_FIELD_MAX = 200         /* bytes of a field's path in --set */
};

/* ---- tables for people ---- */

/* "250/500": the last epoch that is done. */
static void cell_epoch(const json_t *job, char *out, size_t n)
{
    const json_t *epoch = json_object_get(job, "epoch");
    snprintf(out, n, "%lld/%lld", json_is_integer(epoch) ? (long long)json_integer_value(epoch) : 0,
             (long long)json_integer_value(json_object_get(job, "epochs")));
}

static void cell_left(const json_t *job, char *out, size_t n)
{
    const json_t *left = json_object_get(job, "eta_seconds");
    const int seconds = json_is_number(left) ? (int)json_number_value(left) : -1;
    snprintf(out, n, seconds < 0 ? "" : "%d:%02d", seconds / 60, seconds % 60);
}

static void cell_waits(const json_t *job, char *out, size_t n)
{
    snprintf(out, n, "%s", remote_waits(job));
}

static const struct {
    const char *head;
    int width;       /* 0: the rest of the line */
    const char *key; /* a text of the job, or: */
    void (*write)(const json_t *job, char *out, size_t n);
} jobs_columns[] = {
    {"job", 36, "id", NULL},         {"user", 12, "user", NULL},   {"state", 9, "state", NULL},
    {"epoch", 13, NULL, cell_epoch}, {"left", 7, NULL, cell_left}, {"name", 24, "name", NULL},
    {"waits", 0, NULL, cell_waits},
};

static void jobs_print_cell(const char *text, int width)
{
    if (width)
        printf("%-*.*s  ", width, width, text);
    else
        printf("%s\n", text);
}

static void jobs_print_row(const json_t *job)
{
    char cell[JOBS_CELL_MAX];
    for (size_t i = 0; i < sizeof jobs_columns / sizeof *jobs_columns; i++) {
        const char *text = jobs_columns[i].head;
        if (job && jobs_columns[i].key)
            text = remote_text(job, jobs_columns[i].key);
        else if (job) {
            jobs_columns[i].write(job, cell, sizeof cell);
            text = cell;
        }
        jobs_print_cell(text, jobs_columns[i].width);
    }
}

static int jobs_print_listing(json_t *listing)
{
    size_t i;
    json_t *job;
    jobs_print_row(NULL);
    json_array_foreach(json_object_get(listing, "jobs"), i, job)
    {
        jobs_print_row(job);
    }
    if (json_is_string(json_object_get(listing, "next")))
        printf("(there are more: --limit)\n");
    json_decref(listing);
    return REMOTE_OK;
}

static int jobs_show_listing(const struct remote *remote, const char *path)
{
    json_t *listing;
    const int code = remote_ask(remote, "GET", path, NULL, &listing);
    return code ? code : remote->json ? remote_print(listing) : jobs_print_listing(listing);
}

int jobs_list(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        REMOTE_OPTION("state", OPTIONS_POINTER, state, 0, 0, "queued, held, running, ..."),
        REMOTE_OPTION("user", OPTIONS_POINTER, user, 0, 0, "whose"),
        REMOTE_OPTION("tag", OPTIONS_POINTER, tag, 0, 0, "with this tag"),
        REMOTE_OPTION("sweep", OPTIONS_POINTER, sweep, 0, 0, "of this sweep"),
        REMOTE_OPTION("q", OPTIONS_POINTER, q, 0, 0, "a search: words, lr<0.01, -state:failed"),
        REMOTE_OPTION("limit", OPTIONS_INTEGER, limit, 1, JOBS_LIST_MAX, "at most so many"),
    };
    static const struct remote_command command = {JOBS_LIST, 0, 0, rows,
                                                  sizeof rows / sizeof *rows};
    struct remote remote;
    char path[CLIENT_PATH_MAX] = "/jobs", limit[24];
    struct err err = ERR_INIT;
    int n = 0;
    const int code = remote_begin(&remote, settings, &command, argc, argv, &n);
    if (code)
        return code;
    snprintf(limit, sizeof limit, "%lld",
             (long long)(remote.limit > 0 ? remote.limit : JOBS_LIST_DEFAULT));
    if (client_query(path, sizeof path, "state", remote.state, &err) ||
        client_query(path, sizeof path, "user", remote.user, &err) ||
        client_query(path, sizeof path, "tag", remote.tag, &err) ||
        client_query(path, sizeof path, "sweep", remote.sweep, &err) ||
        client_query(path, sizeof path, "q", remote.q, &err) ||
        client_query(path, sizeof path, "limit", limit, &err))
        return remote_fail(-1, &err);
    return jobs_show_listing(&remote, path);
}

int jobs_queue(const struct settings *settings, int argc, char **argv)
{
    static const char *const verbs[] = {"drain", "pause", "resume"};
    static const struct remote_command command = {.usage = JOBS_QUEUE, .most = 1};
    struct remote remote;
    char path[CLIENT_PATH_MAX] = "/queue";
    json_t *queue;
    int n = 0;
    int code = remote_begin(&remote, settings, &command, argc, argv, &n);
    for (size_t i = 0; !code && n && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[0], verbs[i]) == 0)
            snprintf(path, sizeof path, "/queue/%s", verbs[i]);
    if (!code && n && !strchr(path + 1, '/'))
        code = remote_usage(JOBS_QUEUE);
    if (!code)
        code = remote_ask(&remote, n ? "POST" : "GET", path, NULL, &queue);
    if (code)
        return code;
    if (remote.json)
        return remote_print(queue);
    printf("the queue is %s\n", remote_text(queue, "state"));
    const int has_order = json_is_array(json_object_get(queue, "jobs"));
    if (has_order)
        return jobs_print_listing(queue);
    json_decref(queue);
    return jobs_show_listing(&remote, "/jobs?state=running,queued&limit=200");
}

/* ---- submit ---- */

/* Set a field: "train.lr=0.01". The value is JSON, or else a text. */
static int submit_set(json_t *spec, const char *word, struct err *err)
{
    char path[JOBS_FIELD_MAX];
    const char *equals = strchr(word, '=');
    const size_t n = equals ? (size_t)(equals - word) : 0;
    if (!n || n >= sizeof path)
        return err_set(err, ERR_INVALID, "--set %.60s: give a field and a value, train.lr=0.01",
                       word);
    memcpy(path, word, n);
    path[n] = '\0';
    json_t *at = spec;
    char *name = path;
    for (char *dot; (dot = strchr(name, '.')); name = dot + 1) {
        *dot = '\0';
        json_t *inner = json_object_get(at, name);
        if (!inner || json_is_null(inner))
            json_object_set_new(at, name, inner = json_object());
        if (!json_is_object(inner))
            return err_set(err, ERR_INVALID, "--set %.60s: %s has no fields", word, name);
        at = inner;
    }
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!value)
        value = json_string(equals + 1);
    if (!value || !*name || json_object_set_new(at, name, value))
        return err_set(err, ERR_INVALID, "--set %.60s: this is no field or no text", word);
    return 0;
}

/* Take every --set out of the words: the options' reader keeps the last of an option only. */
static int submit_sets(int *argc, char **argv, json_t *sets, struct err *err)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        const int is_joined = strncmp(argv[i], "--set=", 6) == 0;
        if (!is_joined && strcmp(argv[i], "--set") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (!is_joined && i + 1 == *argc)
            return err_set(err, ERR_INVALID, "--set needs a field and a value");
        const char *word = is_joined ? argv[i] + 6 : argv[++i];
        if (json_array_append_new(sets, json_string(word)))
            return err_set(err, ERR_INVALID, "--set %.60s is not UTF-8", word);
    }
    *argc = kept;
    return 0;
}

static json_t *submit_read(const char *file, struct err *err)
{
    const int is_stdin = strcmp(file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(file, "re");
    char *text = malloc(SPEC_BYTES_MAX + 1);
    json_t *spec = NULL;
    if (!in) {
        err_set_errno(err, ERR_NOT_FOUND, "cannot open");
    } else if (!text) {
        err_set(err, ERR_NO_MEMORY, "no memory for the spec");
    } else {
        const size_t n = fread(text, 1, SPEC_BYTES_MAX + 1, in);
        if (n > SPEC_BYTES_MAX)
            err_set(err, ERR_TOO_LARGE, "a spec has at most %d bytes", SPEC_BYTES_MAX);
        else
            spec = input_json(text, n, 0, err);
    }
    if (spec && !json_is_object(spec)) {
        json_decref(spec);
        spec = NULL;
        err_set(err, ERR_MALFORMED, "not a JSON object");
    }
    if (in && !is_stdin)
        fclose(in);
    free(text);
    if (!spec)
        err_prefix(err, "%s", is_stdin ? "standard input" : file);
    return spec;
}

/* The spec: of a file, or of a preset of the server. 0, or the exit code, told. */
static int submit_spec(const struct remote *remote, const char *file, json_t **spec)
{
    char path[CLIENT_PATH_MAX];
    struct err err = ERR_INIT;
    if (!remote->preset)
        return (*spec = submit_read(file, &err)) ? REMOTE_OK : remote_fail(-1, &err);
    const size_t n = strlen(remote->preset);
    if (!n || n > 64 || strspn(remote->preset, "abcdefghijklmnopqrstuvwxyz0123456789-_") != n) {
        err_set(&err, ERR_INVALID, "--preset: there is no preset \"%.64s\"", remote->preset);
        return remote_fail(-1, &err);
    }
    snprintf(path, sizeof path, "/presets/%s", remote->preset);
    return remote_ask(remote, "GET", path, NULL, spec);
}

static int submit_send(const struct remote *remote, const json_t *spec)
{
    json_t *job;
    char *body = json_dumps(spec, JSON_COMPACT);
    const int code = body ? remote_ask(remote, "POST", "/jobs", body, &job) : REMOTE_REFUSED;
    free(body);
    if (code || remote->json)
        return code ? code : remote_print(job);
    printf("%s\n", remote_text(job, "id"));
    fprintf(stderr, "%s: %s%s%s\n", remote_text(job, "name"), remote_text(job, "state"),
            remote_waits(job)[0] ? ", " : "", remote_waits(job));
    json_decref(job);
    return REMOTE_OK;
}

static int submit_build(const struct remote *remote, const char *file, const json_t *sets)
{
    struct err err = ERR_INIT;
    json_t *spec = NULL, *set;
    size_t i;
    int code = submit_spec(remote, file, &spec);
    json_array_foreach(sets, i, set)
    {
        if (!code && submit_set(spec, json_string_value(set), &err))
            code = remote_fail(-1, &err);
    }
    if (!code)
        code = submit_send(remote, spec);
    json_decref(spec);
    return code;
}

int jobs_submit(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        REMOTE_OPTION("preset", OPTIONS_POINTER, preset, 0, 0, "instead of a file"),
    };
    static const struct remote_command command = {JOBS_SUBMIT, 0, 1, rows,
                                                  sizeof rows / sizeof *rows};
    struct remote remote;
    struct err err = ERR_INIT;
    json_t *sets = json_array();
    int n = 0, code = REMOTE_OK;
    if (!sets || submit_sets(&argc, argv, sets, &err)) {
        remote_fail(-1, &err);
        code = REMOTE_USAGE;
    }
    if (!code)
        code = remote_begin(&remote, settings, &command, argc, argv, &n);
    if (!code && n != !remote.preset)
        code = remote_usage(JOBS_SUBMIT);
    if (!code)
        code = submit_build(&remote, argv[0], sets);
    json_decref(sets);
    return code;
}

/* ---- cancel, hold, release, retry ---- */

static int change_one(const struct remote *remote, const char *verb, const char *word)
{
    char id[REMOTE_ID_MAX], path[CLIENT_PATH_MAX];
    struct err err = ERR_INIT;
    json_t *job;
    int code = remote_job(remote, word, id);
    if (code)
        return code;
    snprintf(path, sizeof path, "/jobs/%s/%s", id, verb);
    if (client_query(path, sizeof path, "from", remote->from, &err))
        return remote_fail(-1, &err);
    code = remote_ask(remote, "POST", path, NULL, &job);
    if (code || remote->json)
        return code ? code : remote_print(job);
    /* A running job that is asked to stop runs until its step is done. */
    printf("%s %s%s\n", id, remote_text(job, "state"),
           strcmp(remote_text(job, "state"), "running") == 0 ? ", ends after its present step"
                                                             : "");
    json_decref(job);
    return REMOTE_OK;
}

/* All of the ids, also after one that was refused; the code of the first refusal. */
static int change_all(const struct settings *settings, const struct remote_command *command,
                      const char *verb, int argc, char **argv)
{
    struct remote remote;
    int n = 0;
    int code = remote_begin(&remote, settings, command, argc, argv, &n);
    if (code)
        return code;
    for (int i = 0; i < n; i++) {
        const int one = change_one(&remote, verb, argv[i]);
        code = code ? code : one;
    }
    return code;
}

int jobs_cancel(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {JOBS_CANCEL, 1, JOBS_IDS_MAX, NULL, 0};
    return change_all(settings, &command, "cancel", argc, argv);
}

int jobs_hold(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {JOBS_HOLD, 1, JOBS_IDS_MAX, NULL, 0};
    return change_all(settings, &command, "hold", argc, argv);
}

int jobs_release(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {JOBS_RELEASE, 1, JOBS_IDS_MAX, NULL, 0};
    return change_all(settings, &command, "release", argc, argv);
}

int jobs_retry(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        REMOTE_OPTION("from", OPTIONS_POINTER, from, 0, 0, "checkpoint, or start: anew"),
    };
    static const struct remote_command command = {JOBS_RETRY, 1, JOBS_IDS_MAX, rows, 1};
    return change_all(settings, &command, "retry", argc, argv);
}

/* ---- log and get ---- */

/* A success goes to out as it comes. next: as of client_ask. */
static int stream(const struct remote *remote, const char *path, const char *accept, FILE *out,
                  char *next)
{
    const struct client_call call = {
        .method = "GET", .path = path, .accept = accept, .out = out, .signals = -1};
    struct err err = ERR_INIT;
    json_t *none = NULL;
    int result = client_ask(&remote->server, &call, &none, next, &err);
    if (!result && fflush(out))
        result = err_set_errno(&err, ERR_IO, "cannot write the answer");
    return result ? remote_fail(result, &err) : REMOTE_OK;
}

int jobs_log(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {.usage = JOBS_LOG, .least = 1, .most = 1};
    struct remote remote;
    char id[REMOTE_ID_MAX], path[CLIENT_PATH_MAX];
    int n = 0;
    int code = remote_begin(&remote, settings, &command, argc, argv, &n);
    if (!code)
        code = remote_job(&remote, argv[0], id);
    if (code)
        return code;
    snprintf(path, sizeof path, "/jobs/%s/log", id);
    return stream(&remote, path, "text/plain", stdout, NULL);
}

/* A page of records as CSV; the head line is the first page's only. */
static int epochs_page(const struct remote *remote, const char *path, int is_first, FILE *out,
                       char *next)
{
    char *text = NULL;
    size_t n = 0;
    if (is_first)
        return stream(remote, path, "text/csv", out, next);
    FILE *page = open_memstream(&text, &n);
    int code = page ? stream(remote, path, "text/csv", page, next) : REMOTE_REFUSED;
    if (page)
        fclose(page);
    const char *line = code ? NULL : memchr(text, '\n', n);
    if (line && fwrite(line + 1, 1, n - (size_t)(line + 1 - text), out) == 0 && ferror(out))
        code = REMOTE_REFUSED;
    free(text);
    return code;
}

static int epochs_csv(const struct remote *remote, const char *base, FILE *out)
{
    char path[2 * CLIENT_PATH_MAX], next[CLIENT_PATH_MAX] = "";
    int code = REMOTE_OK, pages = 0;
    snprintf(path, sizeof path, "%s?limit=%d", base, JOBS_RECORDS_PER_PAGE);
    do {
        code = epochs_page(remote, path, !pages++, out, next);
        snprintf(path, sizeof path, "%s%s", base, next);
    } while (!code && next[0]);
    return code;
}

/* One record a line, as `tokenfate run --json` has them. */
static int epochs_json(const struct remote *remote, const char *base, FILE *out)
{
    int64_t from = 0;
    while (from >= 0) {
        char path[2 * CLIENT_PATH_MAX];
        json_t *page, *record;
        size_t i;
        snprintf(path, sizeof path, "%s?from=%lld&limit=%d", base, (long long)from,
                 JOBS_RECORDS_PER_PAGE);
        const int code = remote_ask(remote, "GET", path, NULL, &page);
        if (code)
            return code;
        json_array_foreach(json_object_get(page, "epochs"), i, record)
        {
            json_dumpf(record, out, JSON_COMPACT);
            fputc('\n', out);
            from = json_integer_value(json_object_get(record, "epoch")) + 1;
        }
        const json_t *next = json_object_get(page, "next");
        if (!next || json_is_null(next))
            from = -1;
        json_decref(page);
    }
    return REMOTE_OK;
}

static int get_epochs(const struct remote *remote, const char *id, FILE *out)
{
    char base[CLIENT_PATH_MAX];
    snprintf(base, sizeof base, "/jobs/%s/epochs", id);
    return remote->json ? epochs_json(remote, base, out) : epochs_csv(remote, base, out);
}

static int get_model(const struct remote *remote, const char *id, FILE *out)
{
    char path[CLIENT_PATH_MAX];
    struct err err = ERR_INIT;
    if (isatty(fileno(out))) {
        err_set(&err, ERR_INVALID, "a model is no text: --out FILE");
        return remote_fail(-1, &err);
    }
    snprintf(path, sizeof path, "/jobs/%s/checkpoint", id);
    if (remote->epoch >= 0)
        snprintf(path + strlen(path), 40, "?epoch=%lld", (long long)remote->epoch);
    return stream(remote, path, NULL, out, NULL);
}

static const struct {
    const char *name;
    int (*get)(const struct remote *remote, const char *id, FILE *out);
} get_things[] = {{"epochs", get_epochs}, {"model", get_model}};

/* To the file of --out, which is removed again if it is not whole, or to standard output. */
static int get_to(const struct remote *remote, const char *id, int thing)
{
    struct err err = ERR_INIT;
    FILE *out = remote->out ? fopen(remote->out, "we") : stdout;
    if (!out) {
        err_set_errno(&err, ERR_IO, "cannot write %s", remote->out);
        return remote_fail(-1, &err);
    }
    int code = get_things[thing].get(remote, id, out);
    if ((remote->out ? fclose(out) : fflush(out)) && !code) {
        err_set_errno(&err, ERR_IO, "cannot write %s", remote->out ? remote->out : "the answer");
        code = remote_fail(-1, &err);
    }
    if (code && remote->out)
        unlink(remote->out);
    return code;
}

int jobs_get(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        REMOTE_OPTION("out", OPTIONS_POINTER, out, 0, 0, "file instead of standard output"),
        REMOTE_OPTION("epoch", OPTIONS_INTEGER, epoch, 0, INT64_MAX, "of a model: a snapshot's"),
    };
    static const struct remote_command command = {JOBS_GET, 2, 2, rows, sizeof rows / sizeof *rows};
    struct remote remote;
    char id[REMOTE_ID_MAX];
    int n = 0, thing = -1;
    int code = remote_begin(&remote, settings, &command, argc, argv, &n);
    if (code)
        return code;
    for (size_t i = 0; i < sizeof get_things / sizeof *get_things; i++)
        if (strcmp(argv[1], get_things[i].name) == 0)
            thing = (int)i;
    if (thing < 0)
        return remote_usage(JOBS_GET);
    code = remote_job(&remote, argv[0], id);
    return code ? code : get_to(&remote, id, thing);
}
