/* server: the state that all handlers share. serve.c creates it before the first request and
 * frees it at the end. In between its members are constant, so every thread reads them without
 * a mutex. The objects behind the pointers guard themselves, except `reader`, which belongs to
 * the HTTP thread.
 *
 * The counters and `stopping` are atomic, with sequentially consistent order (the default of
 * C11). `stopping` is set before http_stop reads `suspended`. */
#ifndef TOKENFATE_SERVER_H
#define TOKENFATE_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "config/hash.h"
#include "config/settings.h"
#include "db/db.h"

struct histogram;
struct http;
struct pool;
struct hub;
struct datasets;
struct deliver;
struct presets;
struct reading;
struct route_table;
struct upkeep;
struct workers;

enum { SERVER_STATUS_CLASSES = 6 };

struct server {
    struct settings settings;
    const char *build;          /* `git describe` of this program */
    int auth;                   /* 1: requests need a credential */
    char listen_host[256];      /* as configured, without port and brackets */
    char url[300];              /* "http://host:port" with the port that was bound */
    int tls;                    /* 1: the server speaks TLS (setting tls_cert) */
    int listen_any;             /* 1: listen_host is a wildcard address */
    char secret_hash[HASH_HEX]; /* SHA-256 of the text in data/secret */
    int64_t started_at;         /* microseconds */
    struct db *db;
    struct db_reader *reader; /* of the HTTP thread */
    struct pool *pool;
    struct hub *hub;
    struct datasets *datasets;
    struct presets *presets;
    struct workers *workers;
    struct reading *reading;
    struct upkeep *upkeep;
    struct deliver *deliver;
    struct http *http;
    const struct route_table *routes;
    atomic_llong answers[SERVER_STATUS_CLASSES]; /* by status class: [1] 1xx .. [5] 5xx */
    struct histogram *latency;                   /* of answers, by route (latency.h) */
    atomic_llong wrote_ms; /* clock_monotonic_ms of the last write that /readyz tried */
    atomic_int suspended;  /* parked requests: those that the HTTP thread does not own */
    atomic_int stopping;   /* 1: no request is parked any more; never cleared */
};

#endif
