/* reach: see reach.h. */
#include "server/notify/reach.h"

#include <curl/curl.h>
#include <string.h>

#include "db/notify.h"
#include "server/http/address.h"

/* What IANA's registries of special-purpose addresses (RFC 6890) do not make globally reachable,
 * and forms of IPv6 that hold an IPv4 address which another machine would connect to. */
static const char not_public[] =
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,"
    "192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,"
    "224.0.0.0/4,240.0.0.0/4,"
    "::/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001::/23,2001:db8::/32,2002::/16,fc00::/7,"
    "fe80::/10,fec0::/10,ff00::/8";

int reach_is_allowed(const struct sockaddr *address, const char *allowed)
{
    const struct address to = address_of(address);
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return 0;
    return !address_list_has(not_public, &to) || address_list_has(allowed, &to);
}

int reach_check_url(const char *url, const char *pointer, struct err *err)
{
    char *scheme = NULL, *host = NULL;
    if (strlen(url) >= NOTIFY_URL_MAX)
        return err_field(err, pointer, "%zu bytes are above the limit of %d", strlen(url),
                         NOTIFY_URL_MAX - 1);
    CURLU *parts = curl_url();
    const int is_good = parts && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
                        !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
                        !curl_url_get(parts, CURLUPART_HOST, &host, 0) && *host &&
                        (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return is_good ? 0 : err_field(err, pointer, "must be an http or https address");
}
