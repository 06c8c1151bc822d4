/* address: IP addresses of clients and networks of them. Pure functions, any thread. */
#ifndef TOKENFATE_ADDRESS_H
#define TOKENFATE_ADDRESS_H

#include <arpa/inet.h>
#include <sys/socket.h>

#include "config/err.h"

/* IPv6; an IPv4 address is one of ::ffff:0:0/96. Compared with memcmp. */
struct address {
    unsigned char bytes[16];
};

/* Of a socket; all zero if it has none. */
struct address address_of(const struct sockaddr *socket);
/* Parse n bytes of "192.0.2.1" or "2001:db8::1"; -1 for anything else. */
int address_parse(const char *text, size_t n, struct address *out);
/* The host that an address stands for: all addresses of an IPv6 network of 64 bits are one,
 * because one host may use all of them. */
struct address address_host(struct address address);
void address_print(const struct address *address, char out[INET6_ADDRSTRLEN]);

/* A list of addresses and networks, "127.0.0.0/8, ::1". ERR_INVALID names the setting that holds
 * it and the part that is neither. */
int address_list_check(const char *setting, const char *list, struct err *err);
/* 1 if the address is in the list, which has been checked. */
int address_list_has(const char *list, const struct address *address);

#endif
