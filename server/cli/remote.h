/* remote: what the commands that talk to a server for a person share: which server and as whom, the
 * options --url and --json, ids that are abbreviated, and how a refusal is told. Main thread.
 *
 * The server, by the first of these: --url or TOKENFATE_URL; --socket or TOKENFATE_SOCKET; the login
 * (login.h); the server that runs on the data folder. The token: TOKENFATE_TOKEN, else the login's if
 * the server is the login's, else none. */
#ifndef TOKENFATE_REMOTE_H
#define TOKENFATE_REMOTE_H

#include <jansson.h>
#include <stdint.h>

#include "config/err.h"
#include "config/options.h"
#include "config/settings.h"
#include "server/cli/client.h"

/* Exit codes, of every command that asks a server. */
enum {
    REMOTE_OK = 0,
    REMOTE_REFUSED = 1,   /* the server's no, or what it answers to cannot be done here */
    REMOTE_USAGE = 2,     /* the words of the command */
    REMOTE_ENDED = 3,     /* watch: the job failed or was cancelled */
    REMOTE_NO_SERVER = 4, /* none is known, or none answers */
    REMOTE_INTERRUPTED = 130
};

enum { REMOTE_ID_MAX = 37 }; /* a UUID and its zero */

/* What the words of a command say; each command has rows for the members it knows. */
struct remote {
    const char *url;
    int json;
    const char *state, *user, *tag, *sweep, *q, *preset, *out, *from;
    int64_t limit, epoch; /* -1: not said */
    int browser;
    struct client_server server;
};

/* One option of a command, as a row of options.h. */
#define REMOTE_OPTION(name, kind, member, min, max, help)                                          \
    {                                                                                              \
        name, kind, offsetof(struct remote, member), 0, min, max, NULL, NULL, help                 \
    }

/* What a command takes. */
struct remote_command {
    const char *usage;
    int least, most; /* words beside options */
    const struct options_row *rows;
    int n_rows;
};

/* Read the words: --url, --json and the command's own options; the others stay in
 * argv[0..*n_words). Then find the server. 0, or the exit code: what was wrong is told. */
int remote_begin(struct remote *remote, const struct settings *settings,
                 const struct remote_command *command, int argc, char **argv, int *n_words);
/* The first half alone. */
int remote_words(struct remote *remote, const struct remote_command *command, int argc, char **argv,
                 int *n_words);

/* The whole usage of a command on stderr; REMOTE_USAGE. */
int remote_usage(const char *usage);
/* Tell the error, each field with its pointer; result: of client_ask. Returns the exit code. */
int remote_fail(int result, const struct err *err);

/* ERR_INVALID for what is no address; ERR_TOO_LARGE. */
int remote_set_url(struct client_server *server, const char *url, struct err *err);
int remote_set_socket(struct client_server *server, const char *path, struct err *err);

/* client_ask for JSON. 0, or the exit code, told. */
int remote_ask(const struct remote *remote, const char *method, const char *path, const char *body,
               json_t **answer);

/* The id of the job that a word names: all of an id, or its beginning, four characters or more, if
 * no other job's begins so. 0, or the exit code, told. */
int remote_job(const struct remote *remote, const char *word, char id[REMOTE_ID_MAX]);

/* Print an answer as the server wrote it, on one line; REMOTE_OK, or told. */
int remote_print(json_t *answer);

/* Why a job waits or is held, as a sentence; "" if it does neither. */
const char *remote_waits(const json_t *job);
/* A text of an answer, "" for null and what is none. */
const char *remote_text(const json_t *object, const char *key);

/* ---- the login: url, socket and token in the caller's configuration folder ---- */

/* 1: there is none. */
int remote_load_login(struct client_server *out, struct err *err);
/* Mode 0600. path: where it is, DATA_PATH_MAX bytes. */
int remote_save_login(const struct client_server *login, char *path, struct err *err);
/* 1: there was none. */
int remote_remove_login(struct err *err);

#endif
