/* login: see login.h. */
#include "server/cli/login.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "config/hash.h"
#include "db/users.h"
#include "server/cli/remote.h"

/* ---- who ---- */

/* A server with TLS ends a connection that begins without: then the same with it. */
static int login_ask_socket(struct remote *remote, json_t **answer, struct err *err)
{
    static const char *const ways[] = {"http://localhost", "https://localhost"};
    const struct client_call call = {.method = "POST", .path = "/login", .signals = -1};
    struct err first = ERR_INIT;
    int result = -1;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && result; i++) {
        err_clear(err);
        strcpy(remote->server.url, ways[i]);
        result = client_ask(&remote->server, &call, answer, NULL, err);
        if (result && i == 0)
            first = *err;
        if (result && err->code != ERR_IO)
            break;
    }
    if (result && err->code == ERR_IO)
        *err = first;
    return result;
}

static int login_by_account(struct remote *remote, const struct settings *settings)
{
    struct err err = ERR_INIT;
    json_t *answer = NULL;
    if (remote_set_socket(&remote->server, settings->socket[0] ? settings->socket : LOGIN_SOCKET,
                          &err))
        return remote_fail(-1, &err);
    const int result = login_ask_socket(remote, &answer, &err);
    if (result) {
        const int code = remote_fail(result, &err);
        if (result > 0)
            fprintf(stderr, "tokenfate: no service listens on that socket; elsewhere: tokenfate "
                            "login --url ADDRESS\n");
        return code;
    }
    snprintf(remote->server.url, sizeof remote->server.url, "%s", remote_text(answer, "url"));
    snprintf(remote->server.token, sizeof remote->server.token, "%s", remote_text(answer, "token"));
    json_decref(answer);
    return REMOTE_OK;
}

/* A line of standard input, which a terminal does not show. */
static int login_read_token(char token[CLIENT_LINE_MAX], struct err *err)
{
    struct termios shown, hidden;
    const int is_terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
    if (is_terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        fprintf(stderr, "token (the page behind your name issues one): ");
    }
    const char *line = fgets(token, CLIENT_LINE_MAX, stdin);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    if (line)
        token[strcspn(token, " \r\n")] = '\0';
    return line && token[0] ? 0 : err_set(err, ERR_INVALID, "standard input has no token");
}

static int login_by_token(struct remote *remote)
{
    struct err err = ERR_INIT;
    if (login_read_token(remote->server.token, &err))
        return remote_fail(-1, &err);
    return REMOTE_OK;
}

/* ---- what for ---- */

static int login_keep(const struct remote *remote)
{
    char path[DATA_PATH_MAX];
    struct err err = ERR_INIT;
    json_t *answer;
    const int code = remote_ask(remote, "GET", "/whoami", NULL, &answer);
    if (code)
        return code;
    if (remote_save_login(&remote->server, path, &err)) {
        json_decref(answer);
        return remote_fail(-1, &err);
    }
    if (remote->json && !remote->browser)
        return remote_print(answer);
    fprintf(remote->browser ? stderr : stdout, "%s%s at %s (%s)\n", remote_text(answer, "name"),
            json_is_true(json_object_get(answer, "admin")) ? ", an administrator," : "",
            remote->server.url, path);
    json_decref(answer);
    return REMOTE_OK;
}

static int login_print_link(const struct remote *remote)
{
    json_t *answer;
    const int code = remote_ask(remote, "POST", "/login/link", NULL, &answer);
    if (code)
        return code;
    printf("%s/#/login/%s\n", remote->server.url, remote_text(answer, "code"));
    fprintf(stderr, "for one browser, within %lld s\n",
            (long long)json_integer_value(json_object_get(answer, "expires_in")));
    json_decref(answer);
    return REMOTE_OK;
}

/* A link needs a token. 1: the one of the login will do; 0: one has to be made; -1. */
static int login_is_there(struct remote *remote, const struct settings *settings, struct err *err)
{
    if (!remote->browser || remote->url)
        return 0;
    const int missing = remote_load_login(&remote->server, err);
    if (missing)
        return missing < 0 ? -1 : 0;
    return !settings->socket[0] || strcmp(settings->socket, remote->server.socket) == 0;
}

/* What is made here is kept, with --browser too: it ends the token of the login before. */
static int login_make(struct remote *remote, const struct settings *settings)
{
    struct err err = ERR_INIT;
    int code;
    remote->server = (struct client_server){.url = ""};
    if (!remote->url)
        code = login_by_account(remote, settings);
    else if (remote_set_url(&remote->server, remote->url, &err))
        code = remote_fail(-1, &err);
    else
        code = login_by_token(remote);
    return code ? code : login_keep(remote);
}

int login_command(const struct settings *settings, int argc, char **argv)
{
    static const struct options_row rows[] = {
        REMOTE_OPTION("browser", OPTIONS_FLAG, browser, 0, 0, "print a one-time link"),
    };
    static const struct remote_command command = {LOGIN_USAGE, 0, 0, rows,
                                                  sizeof rows / sizeof *rows};
    struct remote remote;
    struct err err = ERR_INIT;
    int n_words = 0;
    int code = remote_words(&remote, &command, argc, argv, &n_words);
    if (code)
        return code;
    const int is_there = login_is_there(&remote, settings, &err);
    if (is_there < 0)
        return remote_fail(-1, &err);
    if (!is_there)
        code = login_make(&remote, settings);
    return code || !remote.browser ? code : login_print_link(&remote);
}

/* ---- logout ---- */

/* The token of the login ends, as far as the server can be reached; the login is forgotten. */
static void logout_revoke(const struct remote *remote)
{
    char path[CLIENT_PATH_MAX], hash[HASH_HEX], id[TOKEN_ID_MAX];
    json_t *answer;
    if (remote_ask(remote, "GET", "/whoami", NULL, &answer))
        return;
    hash_sha256(remote->server.token, strlen(remote->server.token), hash);
    token_id(hash, id);
    snprintf(path, sizeof path, "/users/%s/tokens/%s", remote_text(answer, "name"), id);
    json_decref(answer);
    if (!remote_ask(remote, "DELETE", path, NULL, &answer))
        json_decref(answer);
}

int logout_command(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {.usage = LOGOUT_USAGE};
    struct remote remote;
    struct err err = ERR_INIT;
    int n = 0;
    (void)settings;
    const int code = remote_words(&remote, &command, argc, argv, &n);
    if (code)
        return code;
    const int known = remote_load_login(&remote.server, &err);
    if (!known && !hash_init(&err))
        logout_revoke(&remote);
    const int result = remote_remove_login(&err);
    if (result > 0)
        err_set(&err, ERR_NOT_FOUND, "there is no login");
    return result ? remote_fail(-1, &err) : REMOTE_OK;
}
