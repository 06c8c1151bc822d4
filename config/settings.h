/* settings: how this installation runs. One option table: key, type, default,
 * limits, help. Every entry is a key of tokenfate.json, an environment variable
 * TOKENFATE_<KEY> and a command line option --<key> (with '-' for '_'); the
 * later of file, environment, option wins. Read once in main, then constant. */
#ifndef TOKENFATE_SETTINGS_H
#define TOKENFATE_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include "config/err.h"

enum { SETTINGS_TEXT_MAX = 1024 };

struct settings {
    char listen[SETTINGS_TEXT_MAX];      /* "127.0.0.1:8080", "[::1]:0"; port 0 = any free */
    char data[SETTINGS_TEXT_MAX];        /* data folder, made if missing */
    char share[SETTINGS_TEXT_MAX];       /* folder with web/, presets/, tokenizers/, openapi.json */
    char corpus_path[SETTINGS_TEXT_MAX]; /* folders with texts, separated by ':' */
    char trainer[SETTINGS_TEXT_MAX];     /* path of tokenfate-trainer; "" = beside tokenfate */
    char log_level[16];
    char allowed_hosts[SETTINGS_TEXT_MAX]; /* extra Host names accepted, comma separated */
    char auth[16];                       /* "auto" (on unless the address is loopback), "on", "off" */
    int64_t checkpoint_seconds;          /* 30 */
    int64_t heartbeat_seconds;           /* a trainer silent for longer is replaced: 60 */
    int64_t idle_seconds;                /* an idle trainer gives its device back: 60 */
    int64_t cancel_seconds;              /* a cancel or stop not answered in time kills: 20 */
    int64_t threads;                     /* compute threads of the CPU device; 0 = all cores */
    int64_t max_body_bytes;              /* JSON bodies: 1 MiB */
    int64_t max_upload_bytes;            /* corpora: 256 MiB */
    int64_t max_streams;                 /* SSE clients: 500 */
    int64_t max_connections;             /* 2000 */
    int64_t max_queue;                   /* jobs not finished: 10000 */
};

/* Defaults, then the file (NULL: none; a named file that is missing or has an
 * unknown key is an error), then the environment, then argv[1..argc). Options
 * take "--key value" or "--key=value"; `config` is handled by the caller.
 * Relative paths stay as given. On success *used is the index of the first
 * argument that is not an option. */
int settings_load(struct settings *out, const char *file, int argc, char **argv, int *used,
                  struct err *err);

/* One line per option: name, default, help. */
void settings_help(FILE *out);

#endif
