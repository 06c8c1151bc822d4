/* settings: the configuration of this installation. One option table: name, type, limits,
 * default, help. Every row is a key of tokenfate.json, an environment variable
 * TOKENFATE_<KEY> and a command line option --<key> (with '-' for '_'). The later of file,
 * environment and option wins. Read once in main, constant afterwards. */
#ifndef TOKENFATE_SETTINGS_H
#define TOKENFATE_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include "config/err.h"
#include "config/options.h"

enum { SETTINGS_TEXT_MAX = 1024 };

struct settings {
    char listen[SETTINGS_TEXT_MAX]; /* "127.0.0.1:8080", "[::1]:0"; port 0 = any free */
    char socket[SETTINGS_TEXT_MAX]; /* path of a Unix socket to serve on as well; "" = none */
    char socket_users[16];          /* "create" (whoever logs in on it), "known" */
    char admin_group[64];           /* whose members become administrators there; "" = none do */
    char data[SETTINGS_TEXT_MAX];   /* data folder, made if missing */
    /* Folder with web/, presets/, tokenizers/, openapi.json. Never "" once loaded: "share"
     * beside the program if it exists, else ../share/tokenfate. */
    char share[SETTINGS_TEXT_MAX];
    char corpus_path[SETTINGS_TEXT_MAX]; /* folders with texts, separated by ':' */
    char trainer[SETTINGS_TEXT_MAX];     /* path of tokenfate-trainer; "" = beside tokenfate */
    char cublaslt[SETTINGS_TEXT_MAX]; /* libcublasLt.so or its folder; "" = gpu/cublas.h finds it */
    char log_level[16];
    char log_format[16];
    char allowed_hosts[SETTINGS_TEXT_MAX]; /* extra Host names accepted, comma separated */
    char auth[16];                         /* "auto" (serve.c), "on", "off" */
    char tls_cert[SETTINGS_TEXT_MAX], tls_key[SETTINGS_TEXT_MAX]; /* PEM files; "": no TLS */
    char trusted_proxies[SETTINGS_TEXT_MAX]; /* whose X-Forwarded-For is believed; address.h */
    int64_t checkpoint_seconds;              /* 30 */
    /* A trainer silent for longer is replaced: 300. A step of the study takes 15 s on two
     * idle cores, and far more on busy ones. */
    int64_t heartbeat_seconds;
    int64_t idle_seconds;     /* an idle trainer releases its device: 60 */
    int64_t cancel_seconds;   /* a trainer that ignores cancel or stop for longer is killed: 20 */
    char cuda[16];            /* "auto" (a GPU is used once it is proved), "off", "force" */
    int64_t threads;          /* cores of the CPU device, for all its jobs; 0 = all cores */
    int64_t slots;            /* jobs at once on the CPU; 0: as many as cores, at most 16 */
    int64_t cuda_slots;       /* jobs at once on a GPU: 1 */
    int64_t job_threads;      /* compute threads of a job that names none; 0 = `threads` */
    int64_t slow_threads;     /* server threads for slow routes that are not heavy: 4 */
    int64_t heavy_threads;    /* server threads for heavy routes: 2 */
    int64_t max_body_bytes;   /* JSON bodies: 1 MiB */
    int64_t max_upload_bytes; /* corpora: 256 MiB */
    int64_t max_streams;      /* SSE clients: 500 */
    int64_t max_connections;  /* 2000 */
    int64_t address_connections; /* of one address; 0: a quarter of max_connections */
    char unlimited_addresses[SETTINGS_TEXT_MAX]; /* to which that does not apply: loopback */
    int64_t head_seconds;                        /* for a request's head: 10 */
    int64_t max_queue;                           /* jobs not finished: 10000 */
    /* Of one user, unless an administrator sets another limit for that user (db/limits.h). */
    int64_t user_queued, user_running, user_stored_bytes, user_device_hours, user_largest_bytes;
    int64_t slice_seconds;   /* 900; 0: no job gives way */
    int64_t share_credit;    /* slices that an idle user keeps: 2 */
    int64_t use_days;        /* half-life of use: 7; 0: use counts for nothing */
    int64_t default_seconds; /* max_seconds of jobs that name none; 0: no limit */
    int64_t max_seconds;     /* largest max_seconds of a job; 0: any, and none */
    /* Days after the end of a job; 0: for ever */
    int64_t keep_state_days, keep_model_days, keep_job_days;
    int64_t keep_bytes;                     /* of all jobs; 0: any number */
    int64_t notice_days;                    /* before something goes: 7 */
    int64_t disk_reserve;                   /* bytes; with less no job starts; 0: always */
    char notify_private[SETTINGS_TEXT_MAX]; /* private networks that notifications may go to */
};

/* Defaults, then the file (NULL: none; a named file that is missing or has an unknown key is
 * an error), then the environment, then argv[1..argc). Options are "--key value" or
 * "--key=value". --config is skipped: its value comes in as `file` (settings_config).
 * Relative paths stay as given. On success *used is the index of the first argument that is
 * not an option of the table, an unknown --option included, which is the caller's.
 * ERR_INVALID, ERR_MALFORMED, ERR_NOT_FOUND, ERR_IO, each naming file, variable or option. */
int settings_load(struct settings *out, const char *file, int argc, char **argv, int *used,
                  struct err *err);

/* The settings' table with its target, to be passed to options_parse beside a command's own
 * table. */
struct options settings_options(struct settings *settings);

/* The file named by --config in argv[1..argc), else by TOKENFATE_CONFIG, or NULL. */
const char *settings_config(int argc, char **argv);

/* Path of a file in the folder of the running program, in n bytes. */
int settings_beside(const char *name, char *path, size_t n, struct err *err);

/* One line per option: name, default, help. */
void settings_help(FILE *out);

#endif
