/* address: see address.h. */
#include "server/http/address.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_BITS = 128, ADDRESS_PREFIX_V4 = 96 };

static const unsigned char prefix_v4[ADDRESS_PREFIX_V4 / 8] = {[10] = 0xff, [11] = 0xff};

static int address_is_v4(const struct address *address)
{
    return memcmp(address->bytes, prefix_v4, sizeof prefix_v4) == 0;
}

static struct address address_from_v4(const void *four)
{
    struct address address;
    memcpy(address.bytes, prefix_v4, sizeof prefix_v4);
    memcpy(address.bytes + sizeof prefix_v4, four, 4);
    return address;
}

struct address address_of(const struct sockaddr *socket)
{
    struct address address = {{0}};
    if (socket && socket->sa_family == AF_INET)
        return address_from_v4(&((const struct sockaddr_in *)(const void *)socket)->sin_addr);
    if (socket && socket->sa_family == AF_INET6)
        memcpy(address.bytes, &((const struct sockaddr_in6 *)(const void *)socket)->sin6_addr,
               sizeof address.bytes);
    return address;
}

int address_parse(const char *text, size_t n, struct address *out)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char four[4];
    if (n >= sizeof copy)
        return -1;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (inet_pton(AF_INET, copy, four) == 1) {
        *out = address_from_v4(four);
        return 0;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1 ? 0 : -1;
}

struct address address_host(struct address address)
{
    if (!address_is_v4(&address))
        memset(address.bytes + 8, 0, 8);
    return address;
}

void address_print(const struct address *address, char out[INET6_ADDRSTRLEN])
{
    if (address_is_v4(address))
        inet_ntop(AF_INET, address->bytes + sizeof prefix_v4, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address->bytes, out, INET6_ADDRSTRLEN);
}

/* ---- lists ---- */

struct network {
    struct address address;
    int bits; /* of the address that count */
};

/* "ADDRESS" or "ADDRESS/BITS". */
static int network_parse(const char *text, size_t n, struct network *out)
{
    const char *slash = memchr(text, '/', n);
    const size_t bytes = slash ? (size_t)(slash - text) : n;
    if (address_parse(text, bytes, &out->address))
        return -1;
    const int first = address_is_v4(&out->address) ? ADDRESS_PREFIX_V4 : 0;
    char digits[4] = "";
    out->bits = ADDRESS_BITS;
    if (!slash)
        return 0;
    const size_t n_digits = n - bytes - 1;
    if (n_digits < 1 || n_digits >= sizeof digits)
        return -1;
    memcpy(digits, slash + 1, n_digits);
    if (strspn(digits, "0123456789") != n_digits)
        return -1;
    out->bits = first + atoi(digits);
    return out->bits <= ADDRESS_BITS ? 0 : -1;
}

static int network_has(const struct network *network, const struct address *address)
{
    const int whole = network->bits / 8, rest = network->bits % 8;
    const unsigned char mask = (unsigned char)(0xff00 >> rest);
    if (memcmp(network->address.bytes, address->bytes, (size_t)whole) != 0)
        return 0;
    return !rest || ((network->address.bytes[whole] ^ address->bytes[whole]) & mask) == 0;
}

/* The next part of a list without blanks, NULL at its end. */
static const char *list_next(const char **at, size_t *n)
{
    static const char between[] = ", ";
    const char *part = *at + strspn(*at, between);
    *n = strcspn(part, between);
    *at = part + *n;
    return *n ? part : NULL;
}

int address_list_check(const char *setting, const char *list, struct err *err)
{
    struct network network;
    size_t n;
    for (const char *part; (part = list_next(&list, &n));)
        if (network_parse(part, n, &network))
            return err_set(err, ERR_INVALID, "%s: \"%.*s\" is neither an address nor a network",
                           setting, n > 60 ? 60 : (int)n, part);
    return 0;
}

int address_list_has(const char *list, const struct address *address)
{
    struct network network;
    size_t n;
    for (const char *part; (part = list_next(&list, &n));)
        if (!network_parse(part, n, &network) && network_has(&network, address))
            return 1;
    return 0;
}
