/* guard: see guard.h. */
#include "server/http/guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http/word_list.h"

/* Headers of which this server reads one value. The next reader, a proxy or a log, may take
 * the other one. */
static const char *const guard_single[] = {
    MHD_HTTP_HEADER_HOST,     MHD_HTTP_HEADER_AUTHORIZATION,
    MHD_HTTP_HEADER_ORIGIN,   MHD_HTTP_HEADER_RANGE,
    MHD_HTTP_HEADER_IF_RANGE, "Idempotency-Key",
    "Last-Event-ID",          "Sec-Fetch-Site",
};

enum { GUARD_SINGLE = sizeof guard_single / sizeof *guard_single };

struct guard_heads {
    int n_single[GUARD_SINGLE];
    int n_lengths, n_encodings;
    const char *length, *encoding;
};

static enum MHD_Result guard_count(void *self, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    (void)kind;
    struct guard_heads *heads = self;
    for (int i = 0; i < GUARD_SINGLE; i++)
        heads->n_single[i] += strcasecmp(key, guard_single[i]) == 0;
    if (strcasecmp(key, "Content-Length") == 0) {
        heads->n_lengths++;
        heads->length = value;
    }
    if (strcasecmp(key, "Transfer-Encoding") == 0) {
        heads->n_encodings++;
        heads->encoding = value ? value : "";
    }
    return MHD_YES;
}

int guard_check_size(struct request *request, struct err *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || info->header_size <= GUARD_HEAD_MAX)
        return 0;
    return err_set(err, ERR_LARGE_HEAD,
                   "the head of the request has %zu bytes, above the limit of %d",
                   info->header_size, GUARD_HEAD_MAX);
}

int guard_check_framing(struct request *request, uint64_t *announced, struct err *err)
{
    struct guard_heads heads = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, guard_count, &heads);
    for (int i = 0; i < GUARD_SINGLE; i++)
        if (heads.n_single[i] > 1)
            return err_set(err, ERR_MALFORMED, "the request has %d headers %s", heads.n_single[i],
                           guard_single[i]);
    if (heads.n_lengths > 1 || heads.n_encodings > 1 || (heads.n_lengths && heads.n_encodings))
        return err_set(err, ERR_MALFORMED,
                       "the request says more than once how long its body is "
                       "(%d Content-Length, %d Transfer-Encoding)",
                       heads.n_lengths, heads.n_encodings);
    if (heads.n_encodings && strcasecmp(heads.encoding, "chunked") != 0)
        return err_set(err, ERR_MALFORMED,
                       "Transfer-Encoding \"%.40s\": chunked is the only one that is read",
                       heads.encoding);
    *announced = 0;
    if (!heads.n_lengths)
        return 0;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(heads.length, &end, 10);
    if (!isdigit((unsigned char)heads.length[0]) || *end || errno)
        return err_set(err, ERR_MALFORMED, "Content-Length \"%.40s\" is no length", heads.length);
    *announced = value;
    return 0;
}

int guard_split_address(const char *address, char *host, size_t host_bytes, char *port,
                        size_t port_bytes)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1] || strlen(colon + 1) >= port_bytes)
        return -1;
    for (const char *at = colon + 1; *at; at++)
        if (!isdigit((unsigned char)*at))
            return -1;
    if (strtol(colon + 1, NULL, 10) > 65535)
        return -1;
    const char *start = address, *end = colon;
    if (*start == '[') {
        if (end[-1] != ']')
            return -1;
        start++;
        end--;
    }
    size_t n = (size_t)(end - start);
    if (!n || n >= host_bytes || (start == address && memchr(start, ':', n)))
        return -1;
    memcpy(host, start, n);
    host[n] = '\0';
    strcpy(port, colon + 1);
    return 0;
}

int guard_is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && inet_addr(host) != INADDR_NONE);
}

static int guard_is_literal(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* Host part of a Host header, in lower case; -1 if it is not one. The port is optional in the
 * header but not in guard_split_address, so a header without one gets ":0" for the split. */
static int guard_host_name(const char *header, char *name, size_t n)
{
    char port[16], with_port[300];
    if (guard_split_address(header, name, n, port, sizeof port)) {
        if ((size_t)snprintf(with_port, sizeof with_port, "%s:0", header) >= sizeof with_port ||
            guard_split_address(with_port, name, n, port, sizeof port))
            return -1;
    }
    for (char *at = name; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return 0;
}

int guard_host_is_ours(const struct server *server, const char *header)
{
    char name[256];
    if (guard_host_name(header, name, sizeof name))
        return 0;
    return guard_is_loopback(name) || strcasecmp(name, server->listen_host) == 0 ||
           (server->listen_any && guard_is_literal(name)) ||
           word_list_has(server->settings.allowed_hosts, name);
}

int guard_check_host(struct request *request, struct err *err)
{
    const char *host = request_head(request, MHD_HTTP_HEADER_HOST);
    if (!host)
        return err_set(err, ERR_MALFORMED, "the request has no Host");
    if (!guard_host_is_ours(request->server, host))
        return err_set(err, ERR_FORBIDDEN,
                       "Host \"%.100s\" is not a name of this server (setting allowed_hosts)",
                       host);
    return 0;
}

int guard_check_origin(struct request *request, struct err *err)
{
    const char *origin = request_head(request, MHD_HTTP_HEADER_ORIGIN);
    const char *site = request_head(request, "Sec-Fetch-Site");
    if (request_is(request, "GET") || request_is(request, "HEAD") ||
        request_head(request, MHD_HTTP_HEADER_AUTHORIZATION))
        return 0;
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return err_set(err, ERR_FORBIDDEN, "a page of another site (%.40s) may not do this", site);
    if (!origin)
        return 0;
    const char *host = request_head(request, MHD_HTTP_HEADER_HOST);
    const char *after = strncmp(origin, "http://", 7) == 0    ? origin + 7
                        : strncmp(origin, "https://", 8) == 0 ? origin + 8
                                                              : "";
    if (strcasecmp(after, host) != 0)
        return err_set(err, ERR_FORBIDDEN, "a page of %.100s may not do this", origin);
    return 0;
}
