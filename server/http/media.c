/* media: see media.h. */
#include "server/http/media.h"

#include <string.h>
#include <strings.h>

#include "server/http/route.h"

static const char blanks[] = " \t";

/* ---- Content-Type ---- */

/* The value of a parameter, token or quoted string, without its quotes; *after is where the
 * header goes on. */
static size_t parameter_value(const char **value, const char **after)
{
    const char *start = *value;
    if (*start != '"') {
        const size_t n = strcspn(start, "; \t");
        *after = start + n;
        return n;
    }
    const size_t n = strcspn(start + 1, "\"");
    *value = start + 1;
    *after = start + 1 + n + (start[1 + n] == '"');
    return n;
}

static int is_word(const char *text, size_t n, const char *word)
{
    return n == strlen(word) && strncasecmp(text, word, n) == 0;
}

/* 1 if all parameters, from the first ';' on, are charset=utf-8. "utf8" is a usual other
 * spelling of the same charset. */
static int parameters_fit(const char *at)
{
    for (at += strspn(at, blanks); *at == ';'; at += strspn(at, blanks)) {
        at += 1 + strspn(at + 1, blanks);
        if (*at == ';' || !*at)
            continue;
        const size_t n = strcspn(at, "=; \t");
        if (!is_word(at, n, "charset") || at[n] != '=')
            return 0;
        const char *value = at + n + 1;
        const size_t bytes = parameter_value(&value, &at);
        if (!is_word(value, bytes, "utf-8") && !is_word(value, bytes, "utf8"))
            return 0;
    }
    return !*at;
}

enum media_fit media_compare(const char *header, const char *type)
{
    const char *at = header + strspn(header, blanks);
    const size_t n = strcspn(at, "; \t");
    if (!is_word(at, n, type))
        return MEDIA_OTHER_TYPE;
    return parameters_fit(at + n) ? MEDIA_FITS : MEDIA_OTHER_PARAMETER;
}

/* ---- all headers ---- */

struct media_heads {
    int n_types;
    const char *type, *encoding, *range; /* encoding: the first that is not identity */
};

static int is_identity(const char *codings)
{
    for (const char *at = codings; *at; at += strspn(at, ", \t")) {
        const size_t n = strcspn(at, ", \t");
        if (n && !is_word(at, n, "identity"))
            return 0;
        at += n;
    }
    return 1;
}

static enum MHD_Result media_head(void *self, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    (void)kind;
    struct media_heads *heads = self;
    value = value ? value : "";
    if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_TYPE) == 0) {
        heads->n_types++;
        heads->type = value;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_ENCODING) == 0) {
        if (!heads->encoding && !is_identity(value))
            heads->encoding = value;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_RANGE) == 0) {
        heads->range = value;
    }
    return MHD_YES;
}

static int media_check_json(const char *type, struct err *err)
{
    if (type && media_compare(type, MEDIA_JSON) == MEDIA_FITS)
        return 0;
    return err_set(err, ERR_MEDIA_TYPE,
                   "the body must be application/json in UTF-8, the request says \"%.80s\"; with "
                   "curl: -d @FILE -H 'Content-Type: application/json'",
                   type ? type : "nothing");
}

/* curl -d sends a form type and drops line ends, -F wraps the file into parts: the answer
 * says which call sends the bytes of the file as they are. */
static int media_check_upload(const struct request *request, const char *type, struct err *err)
{
    static const char *const types[] = {"application/octet-stream", "text/plain"};
    int fits = !type;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        fits |= type && media_compare(type, types[i]) == MEDIA_FITS;
    if (fits)
        return 0;
    return err_set(err, ERR_MEDIA_TYPE,
                   "a text is sent as its bytes, application/octet-stream or text/plain in UTF-8, "
                   "the request says \"%.80s\"; with curl: curl -T FILE -X POST -H 'Content-Type: "
                   "application/octet-stream' 'http://%.100s%.60s?name=NAME'",
                   type, request_head(request, MHD_HTTP_HEADER_HOST), request->route->path);
}

int media_check(struct request *request, struct err *err)
{
    struct media_heads heads = {0};
    const unsigned flags = request->route->flags;
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, media_head, &heads);
    if (heads.range)
        return err_set(err, ERR_MALFORMED,
                       "Content-Range \"%.80s\": a body is taken whole, not in parts", heads.range);
    if (heads.encoding)
        return err_set(err, ERR_MEDIA_TYPE,
                       "Content-Encoding \"%.80s\": a body is taken as it is, without encoding",
                       heads.encoding);
    if (heads.n_types > 1)
        return err_set(err, ERR_MEDIA_TYPE, "the request has %d headers Content-Type",
                       heads.n_types);
    if (flags & ROUTE_BODY_JSON)
        return media_check_json(heads.type, err);
    return flags & ROUTE_BODY_FILE ? media_check_upload(request, heads.type, err) : 0;
}
