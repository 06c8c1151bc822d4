/* peer: the account at the other end of a Unix socket, as the kernel knows it. Pure; any thread.
 *
 * A client cannot choose what the kernel says of it. It says so of sockets of this machine alone:
 * on TCP the same question is answered too, with an account that nobody has. */
#ifndef TOKENFATE_PEER_H
#define TOKENFATE_PEER_H

#include <stdint.h>
#include <sys/types.h>

#include "config/err.h"

enum { PEER_NONE = -1 };

/* The uid of the process that connected; PEER_NONE if this is no Unix socket. */
int64_t peer_uid(int fd);

/* 1 if that process has the group, as its first one or a further one. */
int peer_has_group(int fd, gid_t group);

/* 1 for an account of a person: root, or one above the system's own that no service was given. */
int peer_is_person(int64_t uid);

#endif
