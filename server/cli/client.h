/* client: one request of a command to a server, by libcurl. Called on the main thread.
 *
 * Which server: the one that runs on the data folder (client_of_data), whose address and secret lie
 * there, so that permission to read them is permission to make the request; or the one that the
 * caller names (remote.h). A credential goes to the address that it is for and to no other: no
 * proxy is used and no redirect is followed. */
#ifndef TOKENFATE_CLIENT_H
#define TOKENFATE_CLIENT_H

#include <jansson.h>
#include <stdio.h>

#include "config/err.h"
#include "config/settings.h"
#include "server/data.h"

enum {
    CLIENT_LINE_MAX = 512, /* bytes of an address or a credential */
    CLIENT_PATH_MAX = 1024 /* bytes of a path with its query */
};

struct client_server {
    char url[CLIENT_LINE_MAX];    /* "https://lab/tf", without a slash at the end */
    char socket[CLIENT_LINE_MAX]; /* path of the Unix socket to go by, "": TCP */
    char token[CLIENT_LINE_MAX];  /* "": none */
    char
        certificate[DATA_PATH_MAX]; /* the only one that is trusted; "": the system's authorities */
};

struct client_call {
    const char *method, *path; /* path below /api/v1 */
    const char *body;          /* JSON, NULL: none */
    const char *accept;        /* media type, NULL: JSON */
    FILE *out;                 /* where the body of a success goes as it is, NULL: to the answer */
    int signals;               /* a signalfd that ends the request when it can be read, -1: none */
};

/* The server that runs on the data folder. 1: no server has published itself there. */
int client_of_data(const struct settings *settings, struct client_server *out, struct err *err);

/* Make the request.
 * 0: done; *answer is a new reference, NULL if the body is empty or went to call->out. next: what
 * the Link header names as the next page ("?from=3&..."), "" if none; CLIENT_PATH_MAX bytes or NULL.
 * 1: no server was reached and nothing was done; *err has the reason.
 * -1: *err is the server's problem with all of its fields, or ERR_CANCELLED by a signal, or
 * ERR_TIMEOUT or ERR_IO, after which it is unknown whether the server has done it. */
int client_ask(const struct client_server *server, const struct client_call *call, json_t **answer,
               char *next, struct err *err);

/* The same to the server of the data folder. */
int client_request(const struct settings *settings, const char *method, const char *path,
                   const char *body, json_t **answer, struct err *err);

/* Append "?key=value" or "&key=value", encoded, to a path of n bytes. NULL and "" add nothing.
 * ERR_TOO_LARGE. */
int client_query(char *path, size_t n, const char *key, const char *value, struct err *err);

#endif
