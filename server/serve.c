/* serve: see serve.h. Owns struct server and the lock of the data folder.
 *
 * Start: every step can fail, and serve_close undoes what was done. No request is answered
 * before the jobs that the last server left running are reconciled (job_reconcile). Then the
 * main thread only waits for SIGTERM or SIGINT.
 *
 * Order of the end, in serve_close:
 * 1. `stopping` is set, so that no new request is parked (http.c: http_first).
 * 2. The hub is told to end its streams and waiting requests; the pool ends. Both give their
 *    requests back to the HTTP thread.
 * 3. http_stop waits for those requests. From here on nobody uses the HTTP thread's reader.
 * 4. The reader of texts ends, then the workers: jobs write a checkpoint and go back to the queue, which needs the database.
 * 5. hub_stop and the readers, then the database, whose writer may call hub_notify to its
 *    last commit; then hub_free.
 * The lock is released last. */
#include "server/serve.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config/file.h"
#include "config/hash.h"
#include "config/log.h"
#include "db/jobs.h"
#include "server/api/login.h"
#include "server/api/presets.h"
#include "server/api/routes.h"
#include "server/corpora.h"
#include "server/data.h"
#include "server/datasets.h"
#include "server/events/hub.h"
#include "server/http/address.h"
#include "server/http/auth.h"
#include "server/http/guard.h"
#include "server/http/http.h"
#include "server/http/latency.h"
#include "server/http/neighbours.h"
#include "server/http/pool.h"
#include "server/http/tls.h"
#include "server/queue/job_files.h"
#include "server/notify/deliver.h"
#include "server/queue/old_work.h"
#include "server/queue/reading.h"
#include "server/queue/upkeep.h"
#include "server/queue/workers.h"
#include "server/secret.h"
#include "server/server.h"

enum {
    /* Descriptors of the server beside those of the pool and of connections: 21 when it idles; a
     * trainer that starts, probes, and CONNECTIONS_SPARE take the rest. */
    SERVE_FILES = 40,
    SERVE_FILES_PER_THREAD = 2,     /* a reader has the database and its WAL open */
    SERVE_FILES_PER_CONNECTION = 2, /* its socket, and the file of an upload or an answer */
    SERVE_CONNECTIONS_MIN = 4       /* fewer serve nobody: a browser opens six */
};

/* ---- data folder ---- */

/* Remove partial uploads and imports that a killed server left. */
static void serve_sweep(const char *folder)
{
    char path[DATA_PATH_MAX + 256];
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
    char corpora[DATA_PATH_MAX], jobs[DATA_PATH_MAX];
    unsigned mode = 0;
    const int changed = data_make_private(settings, &mode, err);
    if (changed > 0)
        log_line(LOG_WARNING, "%s was open to others (mode %04o): it is 0700 from here on",
                 settings->data, mode);
    if (changed < 0 || data_path(settings, corpora, sizeof corpora, err, "corpora") ||
        data_path(settings, jobs, sizeof jobs, err, "jobs") || file_make_folder(corpora, err) ||
        file_make_folder(jobs, err))
        return -1;
    serve_sweep(corpora);
    return 0;
}

/* ---- start ---- */

/* Without authentication everybody who reaches the server owns everything. One person's machine is
 * the case that this is for. */
static void serve_tell_neighbours(const struct server *server)
{
    char first[NEIGHBOURS_NAME_MAX];
    const int n = server->auth ? 0 : neighbours_count("/etc/passwd", getuid(), first);
    if (n)
        log_line(LOG_WARNING,
                 "whoever has an account on this machine is an administrator here (%s%s): the "
                 "settings socket and auth tell people apart",
                 first, n > 1 ? " and others" : "");
}

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
    const int others = !guard_is_loopback(server->listen_host) ||
                       server->settings.trusted_proxies[0] || server->settings.socket[0];
    server->auth = strcmp(auth, "on") == 0 || (strcmp(auth, "off") != 0 && others);
    server->tls = server->settings.tls_cert[0] != '\0';
    if (!guard_is_loopback(server->listen_host) && !server->tls &&
        !server->settings.trusted_proxies[0])
        log_line(LOG_WARNING,
                 "whoever is on the way to %s can read tokens and cookies: set tls_cert and "
                 "tls_key, or trusted_proxies if a proxy with TLS stands in front",
                 server->settings.listen);
    serve_tell_neighbours(server);
    return address_list_check("trusted_proxies", server->settings.trusted_proxies, err) ||
                   address_list_check("unlimited_addresses", server->settings.unlimited_addresses,
                                      err) ||
                   login_check_settings(&server->settings, err) ||
                   address_list_check("notify_private", server->settings.notify_private, err)
               ? -1
               : 0;
}

static int serve_reconcile(struct db_writer *writer, void *arg, struct err *err)
{
    return job_reconcile(writer, arg, err);
}

static int serve_open_data(struct server *server, struct err *err)
{
    char path[DATA_PATH_MAX];
    int n = 0, n_counted = 0;
    if (serve_folders(&server->settings, err) ||
        data_path(&server->settings, path, sizeof path, err, "tokenfate.db") ||
        db_open(path, &server->db, err) || db_reader_open(server->db, &server->reader, err) ||
        db_call(server->db, serve_reconcile, &n, err) ||
        job_files_sweep(&server->settings, server->reader, err) ||
        old_work_count(server->db, server->reader, &n_counted, err))
        return -1;
    if (n)
        log_line(LOG_INFO, "%d running jobs of the last server were reconciled", n);
    if (n_counted)
        log_line(LOG_INFO, "the work of %d jobs of an earlier version was counted", n_counted);
    return corpora_import(&server->settings, server->db, err);
}

/* Raise the limit of open files to its maximum, and lower max_connections to what it allows:
 * without a descriptor libmicrohttpd accepts nobody, and no answer tells why. */
static int serve_fit_files(struct settings *settings, struct err *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return err_set_errno(err, ERR_IO, "cannot read the limit of open files");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max == RLIM_INFINITY)
        return 0;
    const int64_t files = limit.rlim_max > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_max,
                  others = SERVE_FILES + SERVE_FILES_PER_THREAD *
                                             (settings->slow_threads + settings->heavy_threads),
                  fit = (files - others) / SERVE_FILES_PER_CONNECTION;
    if (fit < SERVE_CONNECTIONS_MIN)
        return err_set(err, ERR_IO,
                       "the limit of %lld open files (ulimit -n) is too low: %lld are needed",
                       (long long)files,
                       (long long)others + SERVE_FILES_PER_CONNECTION * SERVE_CONNECTIONS_MIN);
    if (fit < settings->max_connections) {
        log_line(
            LOG_WARNING,
            "max_connections is %lld instead of %lld: the limit of open files (ulimit -n) is %lld",
            (long long)fit, (long long)settings->max_connections, (long long)files);
        settings->max_connections = fit;
    }
    return 0;
}

/* ---- files that exist only while a server runs ---- */

/* Write a file of the data folder: `secret`, then `certificate` and `address`, once requests are
 * answered. Commands read both (cli/client.c). */
static int serve_publish(const struct server *server, const char *name, const char *text,
                         mode_t mode, struct err *err)
{
    struct file_atomic file;
    if (file_atomic_open(&file, server->settings.data, name, mode, err))
        return -1;
    fprintf(file.out, "%s\n", text);
    return file_atomic_commit(&file, err);
}

/* The certificate, by which commands know this server. */
static int serve_publish_certificate(const struct server *server, struct err *err)
{
    struct tls tls;
    if (!server->tls)
        return 0;
    if (tls_read(&server->settings, &tls, err))
        return -1;
    const int failed = serve_publish(server, "certificate", tls.certificate, 0644, err);
    tls_free(&tls);
    return failed;
}

/* Remove these files: at the end, and at the start before the new secret is written. Otherwise
 * a command could send the new secret to the address of a server that was killed, where
 * another program may listen. */
static void serve_unpublish(const struct server *server)
{
    static const char *const names[] = {"address", "secret", "certificate"};
    char path[DATA_PATH_MAX];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!data_path(&server->settings, path, sizeof path, &err, "%s", names[i]))
            unlink(path);
}

static int serve_secret(struct server *server, struct err *err)
{
    char secret[SECRET_TEXT_MAX];
    secret_make("token", secret, sizeof secret, server->secret_hash);
    return serve_publish(server, "secret", secret, 0600, err);
}

static int serve_open(struct server *server, int lock, struct err *err)
{
    const struct settings *settings = &server->settings;
    serve_unpublish(server);
    if (latency_open(server, err) || serve_listen(server, err) || serve_secret(server, err) ||
        serve_open_data(server, err) || presets_open(settings->share, &server->presets, err) ||
        datasets_open(settings, &server->datasets, err))
        return -1;
    if (server->auth && auth_first_start(server->db, err))
        return -1;
    if (hub_start(server->db, settings->max_streams, settings->max_connections, &server->hub, err))
        return -1;
    db_on_events(server->db, hub_notify, server->hub);
    if (pool_start(server->db, (int)settings->slow_threads, (int)settings->heavy_threads,
                   &server->pool, err) ||
        workers_start(settings, server->db, server->datasets, lock, &server->workers, err) ||
        reading_start(settings, server->db, server->datasets, server->workers, &server->reading,
                      err) ||
        upkeep_start(settings, server->db, &server->upkeep, err) ||
        deliver_start(settings, server->db, &server->deliver, err) || http_start(server, err) ||
        serve_publish_certificate(server, err))
        return -1;
    return serve_publish(server, "address", server->url, 0644, err);
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
    pool_free(server->pool);
    reading_stop(server->reading);
    upkeep_stop(server->upkeep);
    deliver_stop(server->deliver);
    if (server->workers)
        workers_stop(server->workers);
    hub_stop(server->hub);
    db_reader_close(server->reader);
    db_close(server->db);
    hub_free(server->hub);
    datasets_close(server->datasets);
    presets_close(server->presets);
    latency_close(server);
}

int serve_command(const struct settings *settings, const char *build)
{
    struct server *server = calloc(1, sizeof *server);
    struct err err = ERR_INIT;
    sigset_t ends;
    int code = 1, lock = -1, signal_number = 0;
    if (!server) {
        log_line(LOG_ERROR, "no memory for the server");
        return 1;
    }
    server->settings = *settings;
    server->build = build;
    server->routes = &api_routes;
    server->started_at = db_now();
    /* Blocked before any thread starts: threads inherit the mask, so only sigwait sees them. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* write fails with EFBIG: an upload must not end the server */
    if (!serve_fit_files(&server->settings, &err) && !hash_init(&err) &&
        (lock = data_lock(settings, &err)) >= 0 && !serve_open(server, lock, &err)) {
        log_line(LOG_INFO, "listening on %s (authentication %s, data in %s)", server->url,
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
