/* file_reply: see file_reply.h. */
#include "server/http/file_reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_TAG_MAX = 80, FILE_RANGE_MAX = 80 };

/* ---- what is asked for ---- */

/* Digits at *at, which moves behind them. -1: none, or no number of 64 bits. */
static int file_number(const char **at, uint64_t *out)
{
    uint64_t value = 0;
    const char *start = *at;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
            return -1;
    *out = value;
    return *at == start ? -1 : 0;
}

/* "-N": the last N bytes. */
static enum file_part file_suffix(const char *at, uint64_t size, uint64_t *first, uint64_t *last)
{
    uint64_t n;
    if (file_number(&at, &n) || *at)
        return FILE_WHOLE;
    if (!n || !size)
        return FILE_BEYOND;
    *first = n < size ? size - n : 0;
    *last = size - 1;
    return FILE_PART;
}

enum file_part file_reply_part(const char *range, uint64_t size, uint64_t *first, uint64_t *last)
{
    static const char unit[] = "bytes=";
    if (strncasecmp(range, unit, sizeof unit - 1) != 0)
        return FILE_WHOLE;
    const char *at = range + sizeof unit - 1;
    uint64_t from, to = UINT64_MAX;
    if (*at == '-')
        return file_suffix(at + 1, size, first, last);
    if (file_number(&at, &from) || *at++ != '-' || (*at && file_number(&at, &to)) || *at ||
        to < from)
        return FILE_WHOLE;
    if (from >= size)
        return FILE_BEYOND;
    *first = from;
    *last = to < size ? to : size - 1;
    return FILE_PART;
}

/* Range is only of GET. With If-Range it counts if the tag is this one; a date there never
 * counts, because no Last-Modified is sent. */
static enum file_part file_asked(const struct request *request, const char *tag, uint64_t size,
                                 uint64_t *first, uint64_t *last)
{
    const char *range = request_head(request, MHD_HTTP_HEADER_RANGE);
    const char *only = request_head(request, MHD_HTTP_HEADER_IF_RANGE);
    if (!range || !request_is(request, "GET") || (only && strcmp(only, tag) != 0))
        return FILE_WHOLE;
    return file_reply_part(range, size, first, last);
}

/* ---- answers ---- */

static void file_reply_beyond(struct request *request, uint64_t size)
{
    char range[FILE_RANGE_MAX];
    err_set(&request->err, ERR_RANGE, "Range \"%.60s\" lies beyond the %llu bytes of the file",
            request_head(request, MHD_HTTP_HEADER_RANGE), (unsigned long long)size);
    request_fail(request, &request->err);
    snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)size);
    request_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, range);
}

static void file_reply_bytes(struct request *request, const char *type, int fd, const char *tag,
                             uint64_t size)
{
    uint64_t first = 0, last = 0;
    char range[FILE_RANGE_MAX];
    const enum file_part part = file_asked(request, tag, size, &first, &last);
    if (part == FILE_BEYOND) {
        close(fd);
        file_reply_beyond(request, size);
        return;
    }
    if (part == FILE_WHOLE) {
        request_reply_fd(request, 200, type, fd, 0, size);
    } else {
        request_reply_fd(request, 206, type, fd, first, last - first + 1);
        snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)last, (unsigned long long)size);
        request_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, range);
    }
    request_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
}

enum request_result file_reply(struct request *request, const char *type, int fd, const char *what)
{
    struct stat info;
    char tag[FILE_TAG_MAX];
    const int is_unreadable = fstat(fd, &info);
    if (is_unreadable || !S_ISREG(info.st_mode)) {
        if (is_unreadable)
            err_set_errno(&request->err, ERR_IO, "cannot read %s", what);
        else
            err_set(&request->err, ERR_CORRUPT, "%s is no regular file", what);
        close(fd);
        return request_fail(request, &request->err);
    }
    snprintf(tag, sizeof tag, "\"%llx-%llx-%llx.%lx\"", (unsigned long long)info.st_ino,
             (unsigned long long)info.st_size, (unsigned long long)info.st_mtim.tv_sec,
             (unsigned long)info.st_mtim.tv_nsec);
    if (request_has_tag(request, tag)) {
        close(fd);
        request_reply_response(request, 304,
                               MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    } else {
        file_reply_bytes(request, type, fd, tag, (uint64_t)info.st_size);
    }
    if (request->status >= 400)
        return REQUEST_DONE;
    request_header(request, MHD_HTTP_HEADER_ETAG, tag);
    request_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    return REQUEST_DONE;
}
