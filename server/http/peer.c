/* peer: see peer.h. */
#include "server/http/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    PEER_FIRST_PERSON = 1000, /* below are accounts of the system (UID_MIN of login.defs) */
    /* What systemd gives to services that have no account (DynamicUser), up to nobody. */
    PEER_FIRST_SERVICE = 61184,
    PEER_LAST_SERVICE = 65535
};

static int peer_credentials(int fd, struct ucred *out)
{
    int domain = 0;
    socklen_t n = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) || domain != AF_UNIX)
        return -1;
    n = sizeof *out;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &n) ? -1 : 0;
}

int64_t peer_uid(int fd)
{
    struct ucred peer;
    return peer_credentials(fd, &peer) || peer.uid == (uid_t)-1 ? PEER_NONE : (int64_t)peer.uid;
}

/* The further groups (malloc), *n of them; NULL: none. */
static gid_t *peer_groups(int fd, size_t *n)
{
    socklen_t bytes = 0;
    gid_t *groups = NULL;
    *n = 0;
    /* The kernel says how much room it wants. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) && errno != ERANGE)
        return NULL;
    if (!bytes || !(groups = malloc(bytes)))
        return NULL;
    if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes))
        *n = bytes / sizeof *groups;
    return groups;
}

int peer_has_group(int fd, gid_t group)
{
    struct ucred peer;
    size_t n = 0;
    if (peer_credentials(fd, &peer))
        return 0;
    gid_t *groups = peer_groups(fd, &n);
    int has = peer.gid == group;
    for (size_t i = 0; i < n; i++)
        has = has || groups[i] == group;
    free(groups);
    return has;
}

int peer_is_person(int64_t uid)
{
    const int is_service = uid >= PEER_FIRST_SERVICE && uid <= PEER_LAST_SERVICE;
    return uid == 0 || (uid >= PEER_FIRST_PERSON && !is_service);
}
