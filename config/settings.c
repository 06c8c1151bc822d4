/* settings: see settings.h. One table describes every option. File, environment and command
 * line all end in options_store, so that a value is checked the same way whatever its
 * source. Defaults are text and take that path too. Called once from main, before any thread
 * starts. */
#include "config/settings.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/input.h"

enum { SETTINGS_FILE_MAX = 1 << 20 }; /* a person types a configuration file */

#define TEXT(member)                                                                               \
    OPTIONS_TEXT, offsetof(struct settings, member), sizeof((struct settings *)0)->member, 0, 0
#define NUMBER(member, min, max)                                                                   \
    OPTIONS_INTEGER, offsetof(struct settings, member), 0, min, max, NULL

/* clang-format off */
static const struct options_row settings_table[] = {
    {"listen", TEXT(listen), NULL, "127.0.0.1:8080", "address and port to serve on; port 0 takes any free one"},
    {"socket", TEXT(socket), NULL, "", "path of a Unix socket to serve on as well, for the accounts of this machine; empty: none"},
    {"socket_users", TEXT(socket_users), "create known", "create", "who may log in on the socket: create (every person's account; the user is made), known (users that are there)"},
    {"admin_group", TEXT(admin_group), NULL, "", "group of this machine whose members become administrators when they log in on the socket; root always does"},
    {"data", TEXT(data), NULL, "data", "folder of database, corpora and models, made if missing"},
    {"share", TEXT(share), NULL, "", "folder with web/, presets/, tokenizers/; empty: beside the program, else ../share/tokenfate"},
    {"corpus_path", TEXT(corpus_path), NULL, "corpora", "folders with texts, separated by ':'"},
    {"trainer", TEXT(trainer), NULL, "", "path of tokenfate-trainer; empty: beside the program"},
    {"cublaslt", TEXT(cublaslt), NULL, "", "libcublasLt.so of CUDA, or its folder; empty: found where CUDA's toolkit and pip put it"},
    {"log_level", TEXT(log_level), "debug info warning error", "info", "least important lines to log: debug, info, warning, error"},
    {"log_format", TEXT(log_format), "text json", "text", "how lines are logged: text, or json, one object a line"},
    {"allowed_hosts", TEXT(allowed_hosts), NULL, "", "further Host names to answer to, separated by commas"},
    {"auth", TEXT(auth), "auto on off", "auto", "logins: on, off, or auto (on unless the address is loopback, no proxy is trusted and there is no socket)"},
    {"tls_cert", TEXT(tls_cert), NULL, "", "PEM file with the certificate and its chain: the server speaks TLS"},
    {"tls_key", TEXT(tls_key), NULL, "", "PEM file with the key of tls_cert"},
    {"trusted_proxies", TEXT(trusted_proxies), NULL, "", "addresses and networks of proxies whose X-Forwarded-For is believed, separated by commas"},
    {"checkpoint_seconds", NUMBER(checkpoint_seconds, 0, 86400), "30", "time between checkpoints; 0: after every step"},
    {"heartbeat_seconds", NUMBER(heartbeat_seconds, 1, 86400), "300", "a trainer silent for longer is replaced"},
    {"idle_seconds", NUMBER(idle_seconds, 0, 86400), "60", "an idle trainer gives its device back after this time"},
    {"cancel_seconds", NUMBER(cancel_seconds, 1, 3600), "20", "a trainer that does not stop in this time is killed"},
    {"cuda", TEXT(cuda), "auto off force", "auto", "GPUs: auto (each proves itself, then it is used), off, force (used without a proof)"},
    {"threads", NUMBER(threads, 0, 256), "0", "cores of the CPU on which jobs compute; 0: all"},
    {"slots", NUMBER(slots, 0, 16), "0", "jobs that run on the CPU at the same time; 0: as many as cores, at most 16"},
    {"cuda_slots", NUMBER(cuda_slots, 1, 16), "1", "jobs that run on a GPU at the same time, if its memory has room for them"},
    {"job_threads", NUMBER(job_threads, 0, 256), "0", "compute threads of a job that names none, from its first start to its end; 0: as many as threads"},
    {"slow_threads", NUMBER(slow_threads, 1, 64), "4", "server threads for requests that read files or many rows"},
    {"heavy_threads", NUMBER(heavy_threads, 1, 64), "2", "server threads for large answers, uploads, tokenising and probes"},
    {"max_body_bytes", NUMBER(max_body_bytes, 1024, 64 << 20), "1048576", "largest JSON body"},
    {"max_upload_bytes", NUMBER(max_upload_bytes, 1024, 1 << 30), "268435456", "largest text that can be uploaded"},
    {"max_streams", NUMBER(max_streams, 1, 100000), "500", "event streams served at the same time"},
    {"max_connections", NUMBER(max_connections, 10, 200000), "2000", "connections served at the same time"},
    {"address_connections", NUMBER(address_connections, 0, 200000), "0", "connections of one address at the same time; 0: a quarter of max_connections"},
    {"unlimited_addresses", TEXT(unlimited_addresses), NULL, "127.0.0.0/8,::1", "addresses and networks to which address_connections does not apply"},
    {"head_seconds", NUMBER(head_seconds, 1, 3600), "10", "time for the head of a request, and for a body beside one second for each KiB"},
    {"max_queue", NUMBER(max_queue, 1, 10000000), "10000", "jobs that may wait or run at the same time"},
    {"user_queued", NUMBER(user_queued, 0, 10000000), "2000", "jobs of one user that may be queued or held; 0, here and in the next four: no limit"},
    {"user_running", NUMBER(user_running, 0, 10000), "0", "jobs of one user that run at the same time; others wait"},
    {"user_stored_bytes", NUMBER(user_stored_bytes, 0, 1LL << 60), "0", "bytes of the records, models, checkpoints and texts of one user"},
    {"user_device_hours", NUMBER(user_device_hours, 0, 1000000), "0", "hours that jobs of one user hold devices in seven days; then they wait"},
    {"user_largest_bytes", NUMBER(user_largest_bytes, 0, 1LL << 60), "0", "memory_bytes of a job"},
    {"slice_seconds", NUMBER(slice_seconds, 0, 86400), "900", "time on a device after which a job gives way to users who have had less; 0: never"},
    {"share_credit", NUMBER(share_credit, 0, 1000), "2", "slices that an idle user may be behind the others when work comes"},
    {"use_days", NUMBER(use_days, 0, 3650), "7", "half-life of the use that halves or doubles a user's share; 0: it does not"},
    {"default_seconds", NUMBER(default_seconds, 0, 1LL << 40), "0", "max_seconds of jobs that name none; 0: max_seconds of this table"},
    {"max_seconds", NUMBER(max_seconds, 0, 1LL << 40), "0", "largest max_seconds of a job; 0: no limit"},
    {"keep_state_days", NUMBER(keep_state_days, 0, 36500), "0", "days after a job's end until what it would go on from goes; 0: never"},
    {"keep_model_days", NUMBER(keep_model_days, 0, 36500), "0", "days after a job's end until its models go; 0: never"},
    {"keep_job_days", NUMBER(keep_job_days, 0, 36500), "0", "days after a job's end until it goes with its records; 0: never"},
    {"keep_bytes", NUMBER(keep_bytes, 0, 1LL << 60), "0", "bytes of jobs above which those that ended first lose something; 0: any number"},
    {"notice_days", NUMBER(notice_days, 0, 365), "7", "days from the announcement until something goes"},
    {"disk_reserve", NUMBER(disk_reserve, 0, 1LL << 60), "0", "bytes of the disk that are kept for running jobs: with less, none starts; 0: jobs always start"},
    {"notify_private", TEXT(notify_private), NULL, "", "private addresses and networks to which notifications may go, separated by commas"},
    {"config", OPTIONS_ELSEWHERE, 0, 0, 0, 0, NULL, "", "JSON file with these options as keys"},
};
/* clang-format on */

enum {
    SETTINGS_OPTIONS = sizeof settings_table / sizeof settings_table[0],
    SETTINGS_KEYS = SETTINGS_OPTIONS - 1 /* --config is not a key of the file that it names */
};

struct options settings_options(struct settings *settings)
{
    return (struct options){settings_table, SETTINGS_OPTIONS, settings};
}

static int settings_defaults(struct settings *settings, struct err *err)
{
    memset(settings, 0, sizeof *settings);
    for (int i = 0; i < SETTINGS_KEYS; i++)
        if (options_store(&settings_table[i], settings, settings_table[i].fallback,
                          settings_table[i].name, err))
            return -1;
    return 0;
}

/* Store one key of the file. The JSON type of the value must be that of the option. */
static int settings_set_json(struct settings *settings, const char *file, const char *key,
                             const json_t *value, struct err *err)
{
    const struct options keys = {settings_table, SETTINGS_KEYS, settings};
    char source[SETTINGS_TEXT_MAX + OPTIONS_NAME_MAX], text[24];
    int64_t number = 0;
    const struct options_row *row = strchr(key, '-') ? NULL : options_find(&keys, key, strlen(key));
    snprintf(source, sizeof source, "%s: %.*s", file, OPTIONS_NAME_MAX, key);
    if (!row)
        return err_set(err, ERR_INVALID, "%s: no such option", source);
    if (row->kind == OPTIONS_TEXT && json_is_string(value))
        return options_store(row, settings, json_string_value(value), source, err);
    if (row->kind == OPTIONS_INTEGER && input_integer(value, &number)) {
        snprintf(text, sizeof text, "%lld", (long long)number);
        return options_store(row, settings, text, source, err);
    }
    return err_set(err, ERR_INVALID, "%s: must be %s", source,
                   row->kind == OPTIONS_TEXT ? "a string" : "an integer");
}

/* Read at most `room` bytes of a file. */
static int settings_read_file(const char *file, char *bytes, size_t room, size_t *n,
                              struct err *err)
{
    FILE *in = fopen(file, "re");
    if (!in)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", file);
    *n = fread(bytes, 1, room, in);
    int failed = ferror(in) ? err_set_errno(err, ERR_IO, "cannot read %s", file) : 0;
    fclose(in);
    if (!failed && *n == room)
        return err_set(err, ERR_TOO_LARGE, "%s is above the limit of %d bytes", file,
                       SETTINGS_FILE_MAX);
    return failed;
}

static int settings_load_file(struct settings *settings, const char *file, struct err *err)
{
    json_t *root = NULL, *value;
    const char *key;
    size_t n = 0;
    char *bytes = malloc(SETTINGS_FILE_MAX + 1);
    int result = -1;
    if (!bytes) {
        err_set(err, ERR_NO_MEMORY, "no memory to read %s", file);
        goto out;
    }
    if (settings_read_file(file, bytes, SETTINGS_FILE_MAX + 1, &n, err))
        goto out;
    if (!(root = input_json(bytes, n, 0, err))) {
        err_prefix(err, "%s", file);
        goto out;
    }
    if (!json_is_object(root)) {
        err_set(err, ERR_MALFORMED, "%s: not a JSON object", file);
        goto out;
    }
    json_object_foreach(root, key, value)
    {
        if (settings_set_json(settings, file, key, value, err))
            goto out;
    }
    result = 0;
out:
    json_decref(root);
    free(bytes);
    return result;
}

static int settings_load_environment(struct settings *settings, struct err *err)
{
    for (int i = 0; i < SETTINGS_KEYS; i++) {
        char name[OPTIONS_NAME_MAX];
        snprintf(name, sizeof name, "TOKENFATE_%s", settings_table[i].name);
        for (char *c = name; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        const char *value = getenv(name);
        if (value && options_store(&settings_table[i], settings, value, name, err))
            return -1;
    }
    return 0;
}

const char *settings_config(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return getenv("TOKENFATE_CONFIG");
}

int settings_beside(const char *name, char *path, size_t n, struct err *err)
{
    char program[SETTINGS_TEXT_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0)
        return err_set_errno(err, ERR_IO, "cannot find this program's folder");
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    *(slash ? slash : program) = '\0';
    if ((size_t)snprintf(path, n, "%s/%s", program, name) >= n)
        return err_set(err, ERR_TOO_LARGE, "the path of %s is above %zu bytes", name, n - 1);
    return 0;
}

/* An empty `share` resolves to "share" beside the program (build tree), else to the
 * installed folder. */
static int settings_find_share(struct settings *settings, struct err *err)
{
    if (settings->share[0])
        return 0;
    char path[SETTINGS_TEXT_MAX];
    if (settings_beside("share", path, sizeof path, err))
        return -1;
    if (access(path, R_OK) != 0 && settings_beside("../share/tokenfate", path, sizeof path, err))
        return -1;
    strcpy(settings->share, path);
    return 0;
}

int settings_load(struct settings *out, const char *file, int argc, char **argv, int *used,
                  struct err *err)
{
    struct settings settings;
    const struct options options = settings_options(&settings);
    int next = 1, more = 1;
    if (settings_defaults(&settings, err) || (file && settings_load_file(&settings, file, err)) ||
        settings_load_environment(&settings, err))
        return -1;
    while (more && next < argc) {
        more = options_take(&options, 1, argc, argv, &next, err);
        if (more < 0)
            return -1;
    }
    if (settings_find_share(&settings, err))
        return -1;
    *out = settings;
    *used = next;
    return 0;
}

void settings_help(FILE *out)
{
    const struct options options = settings_options(NULL);
    options_help(&options, out);
}
