/* tls: certificate and key of a server that speaks TLS. http.c reads them before it starts
 * libmicrohttpd, and keeps them until it has stopped. A new certificate takes a restart. */
#ifndef TOKENFATE_TLS_H
#define TOKENFATE_TLS_H

#include "config/err.h"
#include "config/settings.h"

/* Versions before 1.2 are refused (RFC 8996). GnuTLS's names. */
#define TLS_PRIORITIES "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"

struct tls {
    char *certificate, *key; /* PEM; NULL: no TLS */
};

/* ERR_INVALID if only one of tls_cert and tls_key is set; errors name the setting. */
int tls_read(const struct settings *settings, struct tls *out, struct err *err);
/* Also wipes the key. */
void tls_free(struct tls *tls);

#endif
