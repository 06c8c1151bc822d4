/* request: see request.h. Every function runs on the thread that owns the request, except
 * request_operate and request_written, which run on the database writer's thread while the
 * request is parked. */
#include "server/http/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/hash.h"
#include "config/log.h"
#include "config/utf8.h"
#include "server/http/problem.h"
#include "server/http/route.h"
#include "server/http/word_list.h"
#include "server/redact.h"

enum { REQUEST_HEAD_BLOCK = 16 }; /* bytes of a buffer that stays empty */

/* ---- the path ---- */

static int request_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode in place; -1 for a broken escape or a zero byte. */
static int request_unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        int c = (unsigned char)*from;
        if (c == '%') {
            int high = request_hex(from[1]), low = high < 0 ? -1 : request_hex(from[2]);
            if (low < 0 || !(c = high * 16 + low))
                return -1;
            from += 2;
        }
        *to++ = (char)c;
    }
    *to = '\0';
    return 0;
}

/* Where the path starts in the target: a client may send the whole address (RFC 9112, 3.2.2),
 * whose host must be that of the header Host, which was checked. */
static const char *request_path(const struct request *request)
{
    static const char *const schemes[] = {"http://", "https://"};
    const char *target = request->target;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const size_t scheme = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], scheme) != 0)
            continue;
        const char *host = request_head(request, MHD_HTTP_HEADER_HOST);
        const size_t n = strcspn(target + scheme, "/?");
        if (host && strlen(host) == n && strncasecmp(target + scheme, host, n) == 0)
            return target + scheme + n;
    }
    return target;
}

int request_split_path(struct request *request, struct err *err)
{
    if (strlen(request->target) > REQUEST_TARGET_MAX)
        return err_set(err, ERR_LONG_TARGET, "the address is longer than %d bytes",
                       REQUEST_TARGET_MAX);
    const char *path = request_path(request);
    size_t length = strcspn(path, "?");
    if (path[0] != '/')
        return err_set(err, ERR_MALFORMED, "the path \"%.80s\" does not start with /",
                       request->target);
    if (!(request->path = strndup(path + 1, length - 1)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a path");
    for (char *at = request->path, *part; at && *request->path;) {
        part = strsep(&at, "/");
        if (request_unescape(part) || utf8_valid(part, strlen(part)) != strlen(part))
            return err_set(err, ERR_MALFORMED, "broken escape in the path \"%.80s\"",
                           request->target);
        if (request->n_segments == REQUEST_SEGMENTS_MAX)
            return err_set(err, ERR_NOT_FOUND, "there is nothing at %.200s", request->target);
        request->segments[request->n_segments++] = part;
    }
    return 0;
}

/* ---- the query ---- */

/* A list parameter that stands there more than once, as one list. */
struct request_list {
    struct request_list *next;
    const char *name; /* libmicrohttpd's, as long as the request */
    char *words;
};

void request_free_lists(struct request *request)
{
    for (struct request_list *list; (list = request->lists);) {
        request->lists = list->next;
        free(list->words);
        free(list);
    }
}

static struct request_list *request_find_list(const struct request *request, const char *name)
{
    struct request_list *list = request->lists;
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

/* The list of that name, begun with the first value. NULL without memory. */
static struct request_list *request_begin_list(struct request *request, const char *name,
                                               const char *first)
{
    struct request_list *list = request_find_list(request, name);
    if (list || !(list = calloc(1, sizeof *list)))
        return list;
    list->name = name;
    list->next = request->lists;
    request->lists = list;
    list->words = strdup(first);
    return list->words ? list : NULL;
}

/* Add the words of a further value that the list does not have yet. */
static int request_join(struct request *request, const char *name, const char *first,
                        const char *value, struct err *err)
{
    struct request_list *list = request_begin_list(request, name, first);
    char *copy = list ? strdup(value) : NULL, *at = copy, *word;
    int failed = !copy;
    while (!failed && (word = strsep(&at, ","))) {
        char *longer = NULL;
        if (!*word || word_list_has(list->words, word))
            continue;
        failed = asprintf(&longer, "%s%s%s", list->words, *list->words ? "," : "", word) < 0;
        if (failed)
            break;
        free(list->words);
        list->words = longer;
    }
    free(copy);
    return failed ? err_set(err, ERR_NO_MEMORY, "no memory for the parameter %.60s", name) : 0;
}

/* Handlers read a value as a C string, so a zero byte in it would end it unseen. The callback
 * gets the values in their order, and the lookup finds the first one. */
static enum MHD_Result request_check_parameter(void *self, enum MHD_ValueKind kind,
                                               const char *name, size_t name_bytes,
                                               const char *value, size_t bytes)
{
    struct request *request = self;
    struct err *err = &request->err;
    const enum route_query known = route_query(request->route, name);
    const char *first = MHD_lookup_connection_value(request->connection, kind, name);
    if (strlen(name) != name_bytes || (value && strlen(value) != bytes))
        err_field(err, name, "has a zero byte");
    else if (known == ROUTE_QUERY_NONE)
        err_field(err, name, "\"%.60s\" is not a parameter of %s", name, request->route->path);
    else if (!value)
        err_field(err, name, "has no value");
    else if (first && first != value && known == ROUTE_QUERY_ONE)
        err_field(err, name, "stands there more than once: \"%.60s\" and \"%.60s\"", first, value);
    else if (first && first != value && request_join(request, name, first, value, err))
        return MHD_NO;
    return MHD_YES;
}

int request_check_query(struct request *request, struct err *err)
{
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, request_check_parameter,
                                request);
    return err->code == ERR_NONE ? 0 : -1;
}

/* ---- answers ---- */

enum request_result request_reply_response(struct request *request, unsigned status,
                                           struct MHD_Response *response)
{
    if (request->response)
        MHD_destroy_response(request->response);
    request->status = status;
    request->response = response;
    return REQUEST_DONE;
}

void request_header(struct request *request, const char *name, const char *value)
{
    if (request->response)
        MHD_add_response_header(request->response, name, value);
}

/* The quotes of a tag stand nowhere inside another one. */
int request_has_tag(const struct request *request, const char *tag)
{
    const char *known = request_head(request, MHD_HTTP_HEADER_IF_NONE_MATCH);
    return known && (strcmp(known, "*") == 0 || strstr(known, tag));
}

enum request_result request_reply(struct request *request, unsigned status, const char *type,
                                  char *body, size_t n)
{
    char hash[HASH_HEX], tag[32];
    int tagged = status == 200 && request->route && (request->route->flags & ROUTE_ETAG);
    if (tagged) {
        hash_sha256(body, n, hash);
        snprintf(tag, sizeof tag, "\"%.24s\"", hash);
        if (request_has_tag(request, tag)) {
            status = 304;
            n = 0;
        }
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(n, body, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(body);
    request_reply_response(request, status, response);
    if (n)
        request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (tagged) {
        request_header(request, MHD_HTTP_HEADER_ETAG, tag);
        request_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    }
    return REQUEST_DONE;
}

enum request_result request_reply_text(struct request *request, unsigned status, const char *type,
                                       const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    request_reply_response(request, status, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return REQUEST_DONE;
}

enum request_result request_reply_empty(struct request *request)
{
    return request_reply_response(request, 204,
                                  MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

enum request_result request_reply_fd(struct request *request, unsigned status, const char *type,
                                     int fd, uint64_t first, uint64_t size)
{
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(size, fd, first);
    if (!response)
        close(fd);
    request_reply_response(request, status, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return REQUEST_DONE;
}

static ssize_t request_read_nothing(void *self, uint64_t position, char *out, size_t max)
{
    (void)self, (void)position, (void)out, (void)max;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* libmicrohttpd 0.9.75 sends the final chunk in answer to HEAD too, which a client takes for the
 * start of the next answer. HTTP/1.0 has no chunks. */
enum request_result request_reply_head(struct request *request, const char *type)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, REQUEST_HEAD_BLOCK, request_read_nothing, NULL, NULL);
    if (response)
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    request_reply_response(request, 200, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return REQUEST_DONE;
}

enum request_result request_fail(struct request *request, const struct err *err)
{
    size_t n = 0;
    struct err shown = *err;
    const int status = err_http_status(err->code);
    if (request->abandoned)
        return REQUEST_DONE;
    /* http.c logs these two statuses whole. */
    if (redact_err(&request->server->settings, &shown) && status != 500 && status != 507)
        log_with(LOG_WARNING, LOG_FIELDS({"request", request->id}, {"user", request->user.name}),
                 "%s %.200s: %d, %s (request %s)", request->method, request->target, status,
                 err->message, request->id);
    char *text = problem_print(&shown, request->id, &n);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (text && !response)
        free(text);
    request_reply_response(request, (unsigned)status, response);
    request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, PROBLEM_TYPE);
    if (err->code == ERR_UNAUTHORIZED)
        request_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (request->retry_seconds) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", request->retry_seconds);
        request_header(request, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    } else if (err->code == ERR_TOO_MANY || err->code == ERR_UNAVAILABLE) {
        request_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    }
    return REQUEST_DONE;
}

enum request_result request_fail_later(struct request *request, const struct err *err, int seconds)
{
    char text[16];
    snprintf(text, sizeof text, "%d", seconds);
    request_fail(request, err);
    if (request->response)
        MHD_del_response_header(request->response, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    request_header(request, MHD_HTTP_HEADER_RETRY_AFTER, text);
    return REQUEST_DONE;
}

static enum request_result request_no_memory(struct request *request)
{
    struct err err = ERR_INIT;
    err_set(&err, ERR_NO_MEMORY, "no memory for the answer");
    return request_fail(request, &err);
}

int request_open(struct request *request, struct request_buffer *buffer)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->out = open_memstream(&buffer->bytes, &buffer->n);
    if (buffer->out) {
        emit_open(&buffer->json, buffer->out, EMIT_LINES);
        return 0;
    }
    request_no_memory(request);
    return -1;
}

enum request_result request_close_reply(struct request *request, struct request_buffer *buffer,
                                        unsigned status, const char *type)
{
    int failed = ferror(buffer->out);
    if (fclose(buffer->out) != 0 || failed) {
        free(buffer->bytes);
        return request_no_memory(request);
    }
    if (request->abandoned) {
        free(buffer->bytes);
        return REQUEST_DONE;
    }
    return request_reply(request, status, type, buffer->bytes, buffer->n);
}

enum request_result request_close_fail(struct request *request, struct request_buffer *buffer,
                                       const struct err *err)
{
    fclose(buffer->out);
    free(buffer->bytes);
    return request_fail(request, err);
}

/* ---- hand-over ---- */

void request_park(struct request *request, request_handler *next)
{
    request->next = next;
    if (request->suspended)
        return;
    request->suspended = 1;
    atomic_fetch_add(&request->server->suspended, 1);
    MHD_suspend_connection(request->connection);
}

void request_resumed(struct request *request)
{
    if (!request->suspended)
        return;
    request->suspended = 0;
    atomic_fetch_sub(&request->server->suspended, 1);
}

void request_finish(struct request *request)
{
    MHD_resume_connection(request->connection);
}

static void request_written(void *arg, int result, const struct err *err)
{
    struct request *request = arg;
    request->result = result;
    if (result)
        request->err = *err;
    request_finish(request);
}

/* Adapter: db_submit passes one pointer to both callbacks, and request_written needs the
 * request; the operation's own arg is found through it. */
static int request_operate(struct db_writer *writer, void *arg, struct err *err)
{
    struct request *request = arg;
    return request->operation(writer, request->operation_arg, err);
}

enum request_result request_submit(struct request *request, db_operation *operation, void *arg,
                                   request_handler *next)
{
    struct err err = ERR_INIT;
    request->operation = operation;
    request->operation_arg = arg;
    request_park(request, next);
    if (db_submit_as(request->server->db, request->user.name, request_operate, request,
                     request_written, &err)) {
        request->next = NULL;
        request_fail(request, &err);
        request_finish(request);
    }
    return REQUEST_LATER;
}

/* ---- input of the client ---- */

const char *request_query(const struct request *request, const char *name)
{
    const struct request_list *list = request_find_list(request, name);
    return list ? list->words
                : MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_head(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

int request_query_int(const struct request *request, const char *name, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out, struct err *err)
{
    const char *text = request_query(request, name);
    if (!text) {
        *out = fallback;
        return 0;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!text[0] || strspn(text, "-0123456789") != strlen(text) || *end || errno || value < min ||
        value > max)
        return err_field(err, name, "\"%.40s\" is not an integer from %lld to %lld", text,
                         (long long)min, (long long)max);
    *out = value;
    return 0;
}

int request_is(const struct request *request, const char *method)
{
    return strcmp(request->method, method) == 0;
}
