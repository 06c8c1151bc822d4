/* client: see client.h. */
#include "server/http/client.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/http/peer.h"

_Static_assert(REQUEST_CLIENT_MAX > INET6_ADDRSTRLEN + 8, "an address fits");
_Static_assert(REQUEST_CLIENT_MAX > USER_NAME_MAX + 8, "a user's name fits");

static const char forwarded_for[] = "X-Forwarded-For", blanks[] = " \t";

/* The way of a request through proxies, read from its first sender on. */
struct client_way {
    const char *proxies;
    struct address client;
    int is_known;
};

static void way_step(struct client_way *way, const char *text, size_t n)
{
    struct address address;
    if (address_parse(text, n, &address))
        way->is_known = 0; /* whoever stands before it cannot be told */
    else if (!address_list_has(way->proxies, &address)) {
        way->client = address;
        way->is_known = 1;
    }
}

static enum MHD_Result way_header(void *self, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    (void)kind;
    if (strcasecmp(key, forwarded_for) != 0 || !value)
        return MHD_YES;
    for (const char *at = value;; at++) {
        at += strspn(at, blanks);
        const size_t n = strcspn(at, ","), bytes = strcspn(at, ", \t");
        way_step(self, at, bytes);
        at += n;
        if (!*at)
            return MHD_YES;
    }
}

static struct address client_peer(const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return address_of(info ? info->client_addr : NULL);
}

struct address client_address(const struct request *request)
{
    const struct address peer = client_peer(request);
    struct client_way way = {.proxies = request->server->settings.trusted_proxies};
    if (request->uid == PEER_NONE && address_list_has(way.proxies, &peer))
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, way_header, &way);
    return way.is_known ? way.client : peer;
}

int client_is_private(const struct request *request)
{
    const struct address peer = client_peer(request);
    const char *protocol = request_head(request, "X-Forwarded-Proto");
    return request->server->tls ||
           (protocol && strcasecmp(protocol, "https") == 0 && request->uid == PEER_NONE &&
            address_list_has(request->server->settings.trusted_proxies, &peer));
}

void client_name(const struct request *request, char out[REQUEST_CLIENT_MAX])
{
    char address[INET6_ADDRSTRLEN];
    if (request->server->auth && request->user.name[0]) {
        snprintf(out, REQUEST_CLIENT_MAX, "user %s", request->user.name);
        return;
    }
    if (request->uid != PEER_NONE) {
        snprintf(out, REQUEST_CLIENT_MAX, "at uid %lld", (long long)request->uid);
        return;
    }
    const struct address host = address_host(client_address(request));
    address_print(&host, address);
    snprintf(out, REQUEST_CLIENT_MAX, "at %s", address);
}

/* Not recv(MSG_PEEK): unread bytes, like those of the end of TLS, stand before the end. */
int client_left_socket(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLRDHUP};
    return poll(&watched, 1, 0) > 0 &&
           (watched.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

int client_left(const struct request *request)
{
    return client_left_socket(request->fd);
}

int client_gave_up(struct request *request)
{
    const int is_read = request_is(request, "GET") || request_is(request, "HEAD");
    if (is_read && !request->abandoned)
        request->abandoned = client_left(request);
    return request->abandoned;
}

int client_gave_up_at(struct request *request, int64_t record)
{
    return record % CLIENT_RECORDS_PER_LOOK == 0 && client_gave_up(request);
}

int client_check(struct request *request, struct err *err)
{
    return client_gave_up(request) ? err_set(err, ERR_CANCELLED, "the client has left") : 0;
}
