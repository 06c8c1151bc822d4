/* server: what all handlers share, made in serve.c before the first request and
 * constant until the end, except for what guards itself (database, workers,
 * hub, datasets) and the counters, which are atomic. */
#ifndef TOKENFATE_SERVER_H
#define TOKENFATE_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "config/hash.h"
#include "config/settings.h"
#include "db/db.h"

struct http;
struct pool;
struct hub;
struct datasets;
struct presets;
struct route_table;
struct workers;

/* The user that everybody is on loopback, and that a command with the secret of the data
 * folder is. An administrator. */
#define SERVER_LOCAL_USER "local"

enum { SERVER_STATUS_CLASSES = 6 };

struct server {
    struct settings settings;
    const char *build;          /* `git describe` of this program */
    int auth;                   /* 1: credentials are needed */
    char listen_host[256];      /* as configured, without port and brackets */
    int listen_any;             /* it is a wildcard address */
    char secret_hash[HASH_HEX]; /* of the text in data/secret */
    int64_t started_at;         /* microseconds */
    struct db *db;
    struct db_reader *reader; /* of the HTTP thread */
    struct pool *pool;
    struct hub *hub;
    struct datasets *datasets;
    struct presets *presets;
    struct workers *workers;
    struct http *http;
    const struct route_table *routes;
    atomic_llong answers[SERVER_STATUS_CLASSES]; /* by status class 1xx..5xx */
    atomic_int suspended; /* requests that another thread than the HTTP thread owns */
    atomic_int stopping;
};

#endif
