/* static: see static.h. Path traversal is excluded by the names: each segment is plain
 * ([A-Za-z0-9._-], no leading dot), so no path leaves the folder. Media types come from a
 * table, and a file whose suffix is not in it is not served. The Content-Security-Policy
 * restricts pages to what this server delivers. */
#include "server/http/static.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/data.h"
#include "server/http/file_reply.h"

static const struct {
    const char *suffix, *type;
} static_types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".json", "application/json"},
    {".txt", "text/plain; charset=utf-8"},
    {".woff2", "font/woff2"},
    {".webmanifest", "application/manifest+json"},
};

#define STATIC_POLICY                                                                              \
    "default-src 'self'; object-src 'none'; base-uri 'none'; "                                     \
    "form-action 'self'; frame-ancestors 'none'"

static const char *static_type(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof static_types / sizeof static_types[0]; i++) {
        size_t length = strlen(static_types[i].suffix);
        if (n > length && strcmp(path + n - length, static_types[i].suffix) == 0)
            return static_types[i].type;
    }
    return NULL;
}

static int static_is_plain(const char *name)
{
    return name[0] && name[0] != '.' &&
           name[strspn(
               name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

static int static_path(const struct request *request, char *path, size_t n)
{
    int used = snprintf(path, n, "%s/web", request->server->settings.share);
    for (int i = 0; i < request->n_segments && used > 0 && (size_t)used < n; i++) {
        if (!static_is_plain(request->segments[i]))
            return -1;
        used += snprintf(path + used, n - (size_t)used, "/%s", request->segments[i]);
    }
    if (!request->n_segments && used > 0 && (size_t)used < n)
        used += snprintf(path + used, n - (size_t)used, "/index.html");
    return used > 0 && (size_t)used < n ? 0 : -1;
}

int static_exists(const struct request *request)
{
    char path[DATA_PATH_MAX];
    struct stat info;
    return !static_path(request, path, sizeof path) && static_type(path) && !stat(path, &info) &&
           S_ISREG(info.st_mode);
}

static enum request_result static_missing(struct request *request)
{
    err_set(&request->err, ERR_NOT_FOUND, "there is nothing at %.200s", request->target);
    return request_fail(request, &request->err);
}

enum request_result static_file(struct request *request)
{
    char path[DATA_PATH_MAX];
    int fd = -1;
    if (static_exists(request) && !static_path(request, path, sizeof path))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return static_missing(request);
    file_reply(request, static_type(path), fd, "the file");
    request_header(request, "Content-Security-Policy", STATIC_POLICY);
    return REQUEST_DONE;
}
