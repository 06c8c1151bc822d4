/* tls: see tls.h. */
#include "server/http/tls.h"

#include <stdlib.h>
#include <string.h>

#include "config/file.h"

enum { TLS_FILE_MAX = 1 << 20 }; /* bytes; a chain of three certificates has some 6,000 */

static int tls_read_file(const char *setting, const char *path, char **out, struct err *err)
{
    struct file_map map;
    if (file_map_open(path, &map, err))
        return err_prefix(err, "%s", setting);
    char *text = map.n <= TLS_FILE_MAX ? strndup(map.bytes, map.n) : NULL;
    file_map_close(&map);
    if (!text)
        return err_set(err, ERR_TOO_LARGE, "%s: %s is above %d bytes", setting, path, TLS_FILE_MAX);
    *out = text;
    return 0;
}

int tls_read(const struct settings *settings, struct tls *out, struct err *err)
{
    struct tls tls = {NULL, NULL};
    if (!settings->tls_cert[0] != !settings->tls_key[0])
        return err_set(err, ERR_INVALID, "tls_cert and tls_key belong together: %s is not set",
                       settings->tls_cert[0] ? "tls_key" : "tls_cert");
    if (settings->tls_cert[0] &&
        (tls_read_file("tls_cert", settings->tls_cert, &tls.certificate, err) ||
         tls_read_file("tls_key", settings->tls_key, &tls.key, err))) {
        tls_free(&tls);
        return -1;
    }
    *out = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (tls->key)
        explicit_bzero(tls->key, strlen(tls->key));
    free(tls->key);
    free(tls->certificate);
    *tls = (struct tls){NULL, NULL};
}
