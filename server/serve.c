/* serve: `tokenfate serve` from start to end, on the main thread. Every step of
 * the start can fail and is undone by serve_close in the opposite order; nothing
 * is answered before all running jobs are reconciled. The main thread then only
 * waits for SIGTERM or SIGINT. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/hash.h"
#include "config/log.h"
#include "db/jobs.h"
#include "server/auth.h"
#include "server/corpora.h"
#include "server/datasets.h"
#include "server/guard.h"
#include "server/http.h"
#include "server/job_files.h"
#include "server/pool.h"
#include "server/presets.h"
#include "server/server.h"
#include "server/stream.h"
#include "server/worker.h"

int server_data_path(const struct settings *settings, char *path, size_t n, struct err *err,
                     const char *format, ...)
{
    va_list args;
    int used = snprintf(path, n, "%s/", settings->data), more = 0;
    va_start(args, format);
    if (used > 0 && (size_t)used < n)
        more = vsnprintf(path + used, n - (size_t)used, format, args);
    va_end(args);
    if (used < 0 || more < 0 || (size_t)(used + more) >= n)
        return err_set(err, ERR_TOO_LARGE, "a path below %.200s has more than %zu bytes",
                       settings->data, n);
    return 0;
}

/* ---- data folder ---- */

static int serve_make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0755) && errno != EEXIST)
        return err_set_errno(err, ERR_IO, "cannot make the folder %s", path);
    return 0;
}

/* The folder and those above it. */
static int serve_make_data(const char *data, struct err *err)
{
    char path[SERVER_PATH_MAX];
    snprintf(path, sizeof path, "%s", data);
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (serve_make_folder(path, err))
            return -1;
        *at = '/';
    }
    return serve_make_folder(path, err);
}

int serve_lock_once(const struct settings *settings, struct err *err)
{
    char path[SERVER_PATH_MAX];
    if (serve_make_data(settings->data, err) ||
        server_data_path(settings, path, sizeof path, err, "lock"))
        return -1;
    /* Not close-on-exec: trainers inherit it, so that none outlives its server
     * beside a new one. */
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot open %s", path);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    if (errno == EWOULDBLOCK)
        err_set(err, ERR_CONFLICT, "a tokenfate server is running on %s", settings->data);
    else
        err_set_errno(err, ERR_IO, "cannot lock %s", path);
    close(fd);
    return -1;
}

int serve_lock(const struct settings *settings, struct err *err)
{
    int fd = serve_lock_once(settings, err);
    for (int tries = 1; fd < 0 && err->code == ERR_CONFLICT && tries < SERVE_LOCK_TRIES; tries++) {
        usleep(SERVE_LOCK_PAUSE_US);
        err_clear(err);
        fd = serve_lock_once(settings, err);
    }
    return fd;
}

/* Uploads and copies that a killed server left half done. */
static void serve_sweep(const char *folder)
{
    char path[SERVER_PATH_MAX + 256];
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        if (strncmp(entry->d_name, ".upload-", 8) == 0 ||
            strncmp(entry->d_name, ".import-", 8) == 0) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            unlink(path);
        }
    if (entries)
        closedir(entries);
}

static int serve_folders(const struct settings *settings, struct err *err)
{
    char corpora[SERVER_PATH_MAX], jobs[SERVER_PATH_MAX];
    if (server_data_path(settings, corpora, sizeof corpora, err, "corpora") ||
        server_data_path(settings, jobs, sizeof jobs, err, "jobs") ||
        serve_make_folder(corpora, err) || serve_make_folder(jobs, err))
        return -1;
    serve_sweep(corpora);
    return 0;
}

/* ---- start ---- */

static int serve_listen(struct server *server, struct err *err)
{
    const char *auth = server->settings.auth;
    char port[16];
    if (guard_split_address(server->settings.listen, server->listen_host,
                            sizeof server->listen_host, port, sizeof port))
        return err_set(err, ERR_INVALID, "listen: \"%s\" is not address:port",
                       server->settings.listen);
    server->listen_any =
        strcmp(server->listen_host, "0.0.0.0") == 0 || strcmp(server->listen_host, "::") == 0;
    server->auth = strcmp(auth, "on") == 0 ||
                   (strcmp(auth, "off") != 0 && !guard_is_loopback(server->listen_host));
    return 0;
}

static int serve_reconcile(struct db_writer *writer, void *arg, struct err *err)
{
    return job_reconcile(writer, arg, err);
}

static int serve_open_data(struct server *server, struct err *err)
{
    char path[SERVER_PATH_MAX];
    int n = 0;
    if (serve_folders(&server->settings, err) ||
        server_data_path(&server->settings, path, sizeof path, err, "tokenfate.db") ||
        db_open(path, &server->db, err) || db_reader_open(server->db, &server->reader, err) ||
        db_call(server->db, serve_reconcile, &n, err) ||
        job_files_sweep(&server->settings, server->reader, err))
        return -1;
    if (n)
        log_line(LOG_INFO, "%d running jobs of the last server were reconciled", n);
    return corpora_import(&server->settings, server->db, err);
}

/* Room for every connection, and the files beside them. */
static void serve_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- what is only there while a server runs ---- */

static int serve_publish(const struct server *server, const char *name, const char *text,
                         mode_t mode, struct err *err)
{
    char path[SERVER_PATH_MAX], fresh[SERVER_PATH_MAX];
    if (server_data_path(&server->settings, path, sizeof path, err, "%s", name) ||
        server_data_path(&server->settings, fresh, sizeof fresh, err, "%s.new", name))
        return -1;
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int failed = fd < 0 || dprintf(fd, "%s\n", text) < 0;
    if (fd >= 0 && close(fd))
        failed = 1;
    if (failed || rename(fresh, path))
        return err_set_errno(err, ERR_IO, "cannot write %s", path);
    return 0;
}

/* The old ones go before the new secret is there: no command takes it to the
 * address of a server that was killed. */
static void serve_unpublish(const struct server *server)
{
    static const char *const names[] = {"address", "secret"};
    char path[SERVER_PATH_MAX];
    struct err err;
    err_clear(&err);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!server_data_path(&server->settings, path, sizeof path, &err, "%s", names[i]))
            unlink(path);
}

static int serve_secret(struct server *server, struct err *err)
{
    char secret[AUTH_TOKEN_TEXT_MAX];
    auth_make("token", secret, sizeof secret, server->secret_hash);
    return serve_publish(server, "secret", secret, 0600, err);
}

static int serve_open(struct server *server, int lock, char *url, size_t n, struct err *err)
{
    const struct settings *settings = &server->settings;
    serve_unpublish(server);
    if (serve_listen(server, err) || serve_secret(server, err) || serve_open_data(server, err) ||
        presets_open(settings->share, &server->presets, err) ||
        datasets_open(settings, &server->datasets, err))
        return -1;
    if (server->auth && auth_first_start(server->db, err))
        return -1;
    if (hub_start(server->db, settings->max_streams, settings->max_connections, &server->hub, err))
        return -1;
    db_on_events(server->db, hub_notify, server->hub);
    if (pool_start(server->db, (int)settings->slow_threads, &server->pool, err) ||
        workers_start(settings, server->db, lock, &server->workers, err) ||
        http_start(server, url, n, err))
        return -1;
    return serve_publish(server, "address", url, 0644, err);
}

/* ---- end ---- */

static void serve_close(struct server *server)
{
    atomic_store(&server->stopping, 1);
    serve_unpublish(server);
    if (server->hub)
        hub_end_streams(server->hub);
    pool_stop(server->pool);
    http_stop(server->http);
    if (server->workers)
        workers_stop(server->workers);
    hub_stop(server->hub);
    db_reader_close(server->reader);
    db_close(server->db);
    hub_free(server->hub);
    datasets_close(server->datasets);
    presets_close(server->presets);
}

int serve_command(const struct settings *settings, const char *build)
{
    struct server *server = calloc(1, sizeof *server);
    struct err err;
    char url[300];
    sigset_t ends;
    int code = 1, lock = -1, signal_number = 0;
    err_clear(&err);
    if (!server) {
        log_line(LOG_ERROR, "no memory for the server");
        return 1;
    }
    server->settings = *settings;
    server->build = build;
    server->started_at = db_now();
    /* Blocked before any thread starts, so that only sigwait sees them. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    serve_raise_files();
    if (!hash_init(&err) && (lock = serve_lock(settings, &err)) >= 0 &&
        !serve_open(server, lock, url, sizeof url, &err)) {
        log_line(LOG_INFO, "listening on %s (authentication %s, data in %s)", url,
                 server->auth ? "on" : "off", settings->data);
        sigwait(&ends, &signal_number);
        log_line(LOG_INFO, "%s: stopping", strsignal(signal_number));
        code = 0;
    } else {
        log_line(LOG_ERROR, "cannot serve: %s", err.message);
    }
    if (lock >= 0) {
        serve_close(server);
        close(lock);
    }
    free(server);
    return code;
}
