/* client: see client.h. */
#include "server/http/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(REQUEST_CLIENT_MAX > INET6_ADDRSTRLEN + 8, "an address fits");
_Static_assert(REQUEST_CLIENT_MAX > USER_NAME_MAX + 8, "a user's name fits");

static void client_address(const struct sockaddr *address, char out[INET6_ADDRSTRLEN])
{
    snprintf(out, INET6_ADDRSTRLEN, "unknown");
    if (address && address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out,
                  INET6_ADDRSTRLEN);
    } else if (address && address->sa_family == AF_INET6) {
        struct in6_addr six = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(&six)) /* such an address holds its host in the last bits */
            memset(six.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
    }
}

void client_name(const struct request *request, char out[REQUEST_CLIENT_MAX])
{
    char address[INET6_ADDRSTRLEN];
    if (request->server->auth && request->user.name[0]) {
        snprintf(out, REQUEST_CLIENT_MAX, "user %s", request->user.name);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    client_address(info ? info->client_addr : NULL, address);
    snprintf(out, REQUEST_CLIENT_MAX, "at %s", address);
}

int client_left(const struct request *request)
{
    struct pollfd fd = {.fd = request->fd, .events = POLLRDHUP};
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}
