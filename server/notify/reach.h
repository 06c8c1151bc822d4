/* reach: which addresses a message may be sent to. Any user can name an address, and the server
 * stands where users may not: inside the lab's network. So private addresses are refused unless a
 * setting allows them, and the address that is connected to is looked at, not the name, which can
 * mean another one a moment later. Pure. */
#ifndef TOKENFATE_NOTIFY_REACH_H
#define TOKENFATE_NOTIFY_REACH_H

#include <sys/socket.h>

#include "config/err.h"

/* 1 if the socket's address may be connected to: it is one of the public internet, or `allowed`
 * (address_list_has) has it. */
int reach_is_allowed(const struct sockaddr *address, const char *allowed);

/* ERR_INVALID (pointer) unless the text is an http or https address with a host. */
int reach_check_url(const char *url, const char *pointer, struct err *err);

#endif
