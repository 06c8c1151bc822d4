/* server: what all handlers share, made in serve.c before the first request and
 * constant until the end, except for what guards itself (database, workers,
 * hub, datasets) and the counters, which are atomic. */
#ifndef TOKENFATE_SERVER_H
#define TOKENFATE_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "config/settings.h"
#include "db/db.h"

struct http;
struct pool;
struct hub;
struct datasets;
struct presets;
struct workers;

enum { SERVER_STATUS_CLASSES = 6, SERVER_PATH_MAX = 4096 };
enum { SERVE_LOCK_TRIES = 50, SERVE_LOCK_PAUSE_US = 100000 }; /* 5 seconds */

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
    atomic_llong answers[SERVER_STATUS_CLASSES]; /* by status class 1xx..5xx */
    atomic_int stopping;
};

/* data/NAME[/NAME...] into path. ERR_TOO_LARGE if it does not fit. */
int server_data_path(const struct settings *settings, char *path, size_t n, struct err *err,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The whole life of `tokenfate serve`: lock, database, workers, HTTP, wait for
 * SIGTERM or SIGINT, end. Returns the exit code. */
int serve_command(const struct settings *settings, const char *build);

/* Take data/lock (made with its folder if missing). The descriptor, or -1 with
 * ERR_CONFLICT when a server holds it. */
int serve_lock(const struct settings *settings, struct err *err);
/* One look; serve_lock looks SERVE_LOCK_TRIES times, with pauses, for the lock of
 * a killed server stays with its trainers until they have died too. */
int serve_lock_once(const struct settings *settings, struct err *err);

#endif
