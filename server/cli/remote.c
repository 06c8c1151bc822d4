/* remote: see remote.h. */
#include "server/cli/remote.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/emit.h"
#include "config/file.h"

#define REMOTE_FILE "login.json"

enum {
    REMOTE_PREFIX_MIN = 4, /* the server looks for no shorter beginning of an id */
    REMOTE_SAME_MAX = 100  /* jobs whose id or name begins so */
};

/* ---- telling ---- */

int remote_usage(const char *usage)
{
    fprintf(stderr, "usage: tokenfate %s\n", usage);
    return REMOTE_USAGE;
}

int remote_fail(int result, const struct err *err)
{
    static const char prefix[] = "tokenfate";
    if (err->n_fields == 0)
        fprintf(stderr, "%s: %s\n", prefix, err->message);
    for (int i = 0; i < err->n_fields; i++)
        fprintf(stderr, "%s: %s: %s\n", prefix, err->fields[i].pointer, err->fields[i].detail);
    if (err->n_more)
        fprintf(stderr, "%s: and %d more\n", prefix, err->n_more);
    if (err->code == ERR_UNAUTHORIZED)
        fprintf(stderr, "%s: `tokenfate login` makes a token\n", prefix);
    if (err->code == ERR_CANCELLED)
        return REMOTE_INTERRUPTED;
    return result > 0 ? REMOTE_NO_SERVER : REMOTE_REFUSED;
}

int remote_print(json_t *answer)
{
    json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(answer);
    return REMOTE_OK;
}

const char *remote_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *remote_waits(const json_t *job)
{
    return remote_text(json_object_get(job, "waits"), "message");
}

/* ---- the login ---- */

/* $XDG_CONFIG_HOME/tokenfate or ~/.config/tokenfate. */
static int remote_folder(char folder[DATA_PATH_MAX], struct err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;
    if (config && config[0] == '/')
        n = snprintf(folder, DATA_PATH_MAX, "%s/tokenfate", config);
    else if (home && home[0])
        n = snprintf(folder, DATA_PATH_MAX, "%s/.config/tokenfate", home);
    else
        return err_set(err, ERR_NOT_FOUND, "neither HOME nor XDG_CONFIG_HOME names a folder");
    return n < DATA_PATH_MAX - 16 ? 0 : err_set(err, ERR_TOO_LARGE, "the path of HOME is too long");
}

static int remote_path(char path[DATA_PATH_MAX + 16], struct err *err)
{
    char folder[DATA_PATH_MAX];
    if (remote_folder(folder, err))
        return -1;
    snprintf(path, DATA_PATH_MAX + 16, "%s/" REMOTE_FILE, folder);
    return 0;
}

/* Copy a member into CLIENT_LINE_MAX bytes. */
static int remote_member(const json_t *login, const char *key, char *out)
{
    const char *text = remote_text(login, key);
    if (strlen(text) >= CLIENT_LINE_MAX)
        return -1;
    strcpy(out, text);
    return 0;
}

int remote_load_login(struct client_server *out, struct err *err)
{
    char path[DATA_PATH_MAX + 16];
    struct client_server login = {.url = ""};
    if (remote_path(path, err))
        return 1;
    if (access(path, F_OK))
        return 1;
    json_t *file = json_load_file(path, 0, NULL);
    const int failed = !file || remote_member(file, "url", login.url) ||
                       remote_member(file, "socket", login.socket) ||
                       remote_member(file, "token", login.token) || !login.url[0];
    json_decref(file);
    if (failed)
        return err_set(err, ERR_CORRUPT, "%s is no login; `tokenfate login` makes a new one", path);
    *out = login;
    return 0;
}

int remote_save_login(const struct client_server *login, char *path, struct err *err)
{
    struct file_atomic file;
    struct emit json;
    char folder[DATA_PATH_MAX];
    if (remote_folder(folder, err) || file_make_folders(folder, err) ||
        file_atomic_open(&file, folder, REMOTE_FILE, 0600, err))
        return -1;
    emit_open(&json, file.out, EMIT_COMPACT);
    emit_object(&json, NULL);
    emit_text(&json, "url", login->url);
    emit_text(&json, "socket", login->socket);
    emit_text(&json, "token", login->token);
    emit_end(&json);
    fputc('\n', file.out);
    snprintf(path, DATA_PATH_MAX, "%s", file.path);
    return file_atomic_commit(&file, err);
}

int remote_remove_login(struct err *err)
{
    char path[DATA_PATH_MAX + 16];
    if (remote_path(path, err))
        return -1;
    if (unlink(path) == 0)
        return 0;
    return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, "cannot remove %s", path);
}

/* ---- the server ---- */

static int remote_copy(const char *what, const char *text, char *out, struct err *err)
{
    if (strlen(text) >= CLIENT_LINE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is longer than %d bytes", what, CLIENT_LINE_MAX - 1);
    strcpy(out, text);
    return 0;
}

int remote_set_url(struct client_server *server, const char *url, struct err *err)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_set(err, ERR_INVALID, "\"%.200s\" is no address like https://lab:8080", url);
    if (remote_copy("the address", url, server->url, err))
        return -1;
    for (size_t n = strlen(server->url); n && server->url[n - 1] == '/'; n--)
        server->url[n - 1] = '\0';
    return 0;
}

int remote_set_socket(struct client_server *server, const char *path, struct err *err)
{
    return remote_copy("the socket's path", path, server->socket, err);
}

/* A server that is named gets the login's token only if the login is there. */
static int remote_named(const char *url, const char *socket, struct client_server *out,
                        struct err *err)
{
    struct client_server login = {.url = ""}, server = {.url = ""};
    const int known = remote_load_login(&login, err);
    if (known < 0 ||
        (url ? remote_set_url(&server, url, err) : remote_set_socket(&server, socket, err)))
        return -1;
    if (!known && (url ? strcmp(login.url, server.url) : strcmp(login.socket, server.socket)) == 0)
        strcpy(server.token, login.token);
    if (!known && !url && strcmp(login.socket, server.socket) == 0)
        strcpy(server.url, login.url);
    *out = server;
    return 0;
}

static int remote_find(struct remote *remote, const struct settings *settings, struct err *err)
{
    const char *url = remote->url ? remote->url : getenv("TOKENFATE_URL");
    const char *token = getenv("TOKENFATE_TOKEN");
    struct client_server *server = &remote->server;
    int result;
    if ((url && url[0]) || settings->socket[0])
        result = remote_named(url && url[0] ? url : NULL, settings->socket, server, err);
    else if ((result = remote_load_login(server, err)) > 0)
        result = client_of_data(settings, server, err);
    if (result > 0)
        err_set(err, ERR_NOT_FOUND,
                "no server is known: `tokenfate login` on its machine, --url ADDRESS, or --data of "
                "one that runs");
    if (!result && token && token[0])
        result = remote_copy("TOKENFATE_TOKEN", token, server->token, err);
    return result;
}

int remote_words(struct remote *remote, const struct remote_command *command, int argc, char **argv,
                 int *n_words)
{
    static const struct options_row shared[] = {
        REMOTE_OPTION("url", OPTIONS_POINTER, url, 0, 0, "address of the server"),
        REMOTE_OPTION("json", OPTIONS_FLAG, json, 0, 0, "what the server answers, as it is"),
    };
    struct err err = ERR_INIT;
    *remote = (struct remote){.limit = -1, .epoch = -1};
    const struct options tables[] = {{shared, sizeof shared / sizeof *shared, remote},
                                     {command->rows, command->n_rows, remote}};
    if (options_parse(tables, 2, argc, argv, n_words, &err)) {
        remote_fail(-1, &err);
        return REMOTE_USAGE;
    }
    const int fits = *n_words >= command->least && *n_words <= command->most;
    return fits ? REMOTE_OK : remote_usage(command->usage);
}

int remote_begin(struct remote *remote, const struct settings *settings,
                 const struct remote_command *command, int argc, char **argv, int *n_words)
{
    struct err err = ERR_INIT;
    const int code = remote_words(remote, command, argc, argv, n_words);
    if (code)
        return code;
    const int result = remote_find(remote, settings, &err);
    return result ? remote_fail(result, &err) : REMOTE_OK;
}

int remote_ask(const struct remote *remote, const char *method, const char *path, const char *body,
               json_t **answer)
{
    struct err err = ERR_INIT;
    const struct client_call call = {.method = method, .path = path, .body = body, .signals = -1};
    *answer = NULL;
    const int result = client_ask(&remote->server, &call, answer, NULL, &err);
    return result ? remote_fail(result, &err) : REMOTE_OK;
}

/* ---- ids ---- */

/* Of the jobs of a listing the one whose id begins with the word; *n: how many there are. */
static void remote_match(const json_t *listing, const char *word, char id[REMOTE_ID_MAX], int *n)
{
    size_t i;
    json_t *job;
    *n = 0;
    json_array_foreach(json_object_get(listing, "jobs"), i, job)
    {
        const char *found = remote_text(job, "id");
        if (strncasecmp(found, word, strlen(word)) == 0 && !(*n)++)
            snprintf(id, REMOTE_ID_MAX, "%s", found);
    }
}

int remote_job(const struct remote *remote, const char *word, char id[REMOTE_ID_MAX])
{
    char path[CLIENT_PATH_MAX] = "/jobs";
    struct err err = ERR_INIT;
    json_t *listing;
    int n;
    const size_t length = strlen(word);
    if (length == REMOTE_ID_MAX - 1) {
        strcpy(id, word);
        return REMOTE_OK;
    }
    if (length < REMOTE_PREFIX_MIN || length >= REMOTE_ID_MAX ||
        strspn(word, "0123456789abcdefABCDEF-") != length) {
        err_set(&err, ERR_INVALID, "\"%.60s\" is neither a job's id nor the beginning of one",
                word);
        return remote_fail(-1, &err);
    }
    char limit[16];
    snprintf(limit, sizeof limit, "%d", REMOTE_SAME_MAX);
    if (client_query(path, sizeof path, "q", word, &err) ||
        client_query(path, sizeof path, "limit", limit, &err))
        return remote_fail(-1, &err);
    const int code = remote_ask(remote, "GET", path, NULL, &listing);
    if (code)
        return code;
    remote_match(listing, word, id, &n);
    json_decref(listing);
    if (n == 1)
        return REMOTE_OK;
    err_set(&err, n ? ERR_CONFLICT : ERR_NOT_FOUND,
            n ? "%2$d jobs begin with %1$s: give more of the id" : "there is no job %s", word, n);
    return remote_fail(-1, &err);
}
