/* client: see client.h. */
#include "server/cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENT_SECONDS = 30,          /* for one answer: its commit may queue behind others */
    CLIENT_SILENT_SECONDS = 60,   /* an answer that goes to a file may take long, but not pause */
    CLIENT_HEADER_MAX = 2048,     /* bytes of a URL or header that contains one of these */
    CLIENT_ANSWER_MAX = 64 << 20, /* bytes of an answer in memory: a page of records has some 20 */
};

struct client {
    const struct client_server *server;
    const struct client_call *call;
    char url[CLIENT_HEADER_MAX];
    CURL *curl;
    struct curl_slist *headers;
    FILE *answer; /* in memory */
    char *bytes;
    size_t n;
    char next[CLIENT_PATH_MAX];
};

/* ---- the server of the data folder ---- */

/* Read the only line of a file in the data folder. 1 if there is no such file: no server has
 * published it. */
static int client_read(const struct settings *settings, const char *name, char *line,
                       struct err *err)
{
    char path[DATA_PATH_MAX];
    if (data_path(settings, path, sizeof path, err, "%s", name))
        return -1;
    FILE *in = fopen(path, "re");
    int missing = !in && errno == ENOENT;
    if (!in)
        err_set_errno(err, ERR_IO, "cannot read %s", path);
    char *read = in ? fgets(line, CLIENT_LINE_MAX, in) : NULL;
    if (in)
        fclose(in);
    if (!in)
        return missing ? 1 : -1;
    if (!read)
        return err_set(err, ERR_IO, "%s is empty", path);
    line[strcspn(line, "\n")] = '\0';
    return 0;
}

int client_of_data(const struct settings *settings, struct client_server *out, struct err *err)
{
    struct client_server server = {.socket = ""};
    int result = client_read(settings, "address", server.url, err);
    if (!result)
        result = client_read(settings, "secret", server.token, err);
    if (!result)
        result =
            data_path(settings, server.certificate, sizeof server.certificate, err, "certificate");
    if (!result)
        *out = server;
    return result;
}

/* ---- libcurl's callbacks ---- */

static long client_status(const struct client *client)
{
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Bytes of the body. A return value below size * n aborts the transfer. */
static size_t client_take(char *data, size_t size, size_t n, void *self)
{
    struct client *client = self;
    if (client->call->out && client_status(client) / 100 == 2)
        return fwrite(data, size, n, client->call->out);
    long so_far = ftell(client->answer);
    if (so_far < 0 || (size_t)so_far + size * n > CLIENT_ANSWER_MAX)
        return 0;
    return fwrite(data, size, n, client->answer);
}

/* A line of the head: `Link: <?from=3>; rel="next"`. */
static size_t client_take_head(char *line, size_t size, size_t n, void *self)
{
    static const char name[] = "Link: <";
    struct client *client = self;
    const size_t bytes = size * n, skip = sizeof name - 1;
    const char *end = bytes > skip ? memchr(line, '>', bytes) : NULL;
    const int is_next = end && memmem(end, (size_t)(line + bytes - end), "\"next\"", 6) != NULL;
    if (is_next && strncasecmp(line, name, skip) == 0)
        snprintf(client->next, sizeof client->next, "%.*s", (int)(end - line - (long)skip),
                 line + skip);
    return bytes;
}

/* Called at least once a second. A return value other than 0 aborts the transfer. */
static int client_is_stopped(void *self, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct client *client = self;
    struct pollfd signals = {.fd = client->call->signals, .events = POLLIN};
    (void)a, (void)b, (void)c, (void)d;
    return signals.fd >= 0 && poll(&signals, 1, 0) > 0;
}

/* ---- the request ---- */

/* Append a header. curl_slist_append returns NULL on failure and leaves the list as it was. */
static int client_add(struct client *client, const char *name, const char *value)
{
    char header[CLIENT_HEADER_MAX];
    if (!value || !*value)
        return 0;
    snprintf(header, sizeof header, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(client->headers, header);
    if (longer)
        client->headers = longer;
    return longer ? 0 : -1;
}

static int client_add_all(struct client *client)
{
    const struct client_server *server = client->server;
    const struct client_call *call = client->call;
    char bearer[CLIENT_LINE_MAX + 8] = "";
    if (server->token[0])
        snprintf(bearer, sizeof bearer, "Bearer %s", server->token);
    return client_add(client, "Authorization", bearer) ||
           client_add(client, "Content-Type", call->body ? "application/json" : NULL) ||
           client_add(client, "Accept", call->accept);
}

/* How the server is known. By the certificate that it left in its data folder and by no other, so
 * its name, which may not be that of the address, tells nothing more; at a socket by the socket. */
static void client_trust(const struct client *client)
{
    const struct client_server *server = client->server;
    if (server->certificate[0]) {
        curl_easy_setopt(client->curl, CURLOPT_CAINFO, server->certificate);
        curl_easy_setopt(client->curl, CURLOPT_CAPATH, NULL);
    }
    if (server->certificate[0] || server->socket[0])
        curl_easy_setopt(client->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    if (server->socket[0]) {
        curl_easy_setopt(client->curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(client->curl, CURLOPT_UNIX_SOCKET_PATH, server->socket);
    }
}

static void client_time(const struct client *client)
{
    curl_easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT, (long)CLIENT_SECONDS);
    if (client->call->out) {
        curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, (long)CLIENT_SILENT_SECONDS);
    } else {
        curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, (long)CLIENT_SECONDS);
    }
}

/* At a socket the address tells only whether the server speaks TLS, and where it ends. */
static void client_address(struct client *client)
{
    const struct client_server *server = client->server;
    const char *base = server->url;
    if (server->socket[0])
        base = strncmp(server->url, "https:", 6) == 0 ? "https://localhost" : "http://localhost";
    snprintf(client->url, sizeof client->url, "%s/api/v1%s", base, client->call->path);
}

static int client_open(struct client *client, struct err *err)
{
    const struct client_call *call = client->call;
    client_address(client);
    client->curl = curl_easy_init();
    client->answer = open_memstream(&client->bytes, &client->n);
    if (!client->curl || !client->answer || client_add_all(client))
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    curl_easy_setopt(client->curl, CURLOPT_URL, client->url);
    curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    client_trust(client);
    client_time(client);
    curl_easy_setopt(client->curl, CURLOPT_PROXY, ""); /* none of the environment either */
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body)
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, client_take);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(client->curl, CURLOPT_HEADERFUNCTION, client_take_head);
    curl_easy_setopt(client->curl, CURLOPT_HEADERDATA, client);
    curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, client_is_stopped);
    curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, client);
    curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
    return 0;
}

static int client_perform(struct client *client, struct err *err)
{
    const char *where = client->server->socket[0] ? client->server->socket : client->url;
    CURLcode code = curl_easy_perform(client->curl);
    if (fclose(client->answer))
        code = CURLE_OUT_OF_MEMORY;
    client->answer = NULL;
    if (code == CURLE_OK)
        return 0;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(err, ERR_CANCELLED, "interrupted");
    /* Only without a connection is it certain that the server has done nothing. */
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
        err_set(err, ERR_UNAVAILABLE, "%s: %s", where, curl_easy_strerror(code));
        return 1;
    }
    return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO,
                   "%s: %s; whether it was done is not known", where, curl_easy_strerror(code));
}

/* The fields that a problem names, each with its pointer. */
static void client_fields(const json_t *problem, struct err *err)
{
    size_t i;
    json_t *field;
    json_array_foreach(json_object_get(problem, "errors"), i, field)
    {
        const char *pointer = json_string_value(json_object_get(field, "pointer"));
        const char *detail = json_string_value(json_object_get(field, "detail"));
        if (pointer && detail)
            err_field(err, pointer, "%s", detail);
    }
}

/* Parse the answer: JSON of a success, or a problem document into *err. */
static int client_understand(struct client *client, json_t **answer, struct err *err)
{
    const long status = client_status(client);
    json_t *body = client->n ? json_loadb(client->bytes, client->n, 0, NULL) : NULL;
    if (status / 100 == 2 && (body || !client->n)) {
        *answer = body;
        return 0;
    }
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *detail = json_string_value(json_object_get(body, "detail"));
    if (code && err_from_name(code) == ERR_INVALID)
        client_fields(body, err);
    if (err->n_fields == 0 && code && detail)
        err_set(err, err_from_name(code), "%s", detail);
    else if (err->n_fields == 0)
        err_set(err, ERR_PROTOCOL, "%s answered %ld in words that are not ours", client->url,
                status);
    json_decref(body);
    return -1;
}

int client_ask(const struct client_server *server, const struct client_call *call, json_t **answer,
               char *next, struct err *err)
{
    struct client client = {.server = server, .call = call};
    int result = client_open(&client, err);
    if (!result)
        result = client_perform(&client, err);
    if (!result)
        result = client_understand(&client, answer, err);
    if (!result && next)
        strcpy(next, client.next);
    if (client.answer)
        fclose(client.answer);
    curl_slist_free_all(client.headers);
    curl_easy_cleanup(client.curl);
    free(client.bytes);
    return result;
}

int client_request(const struct settings *settings, const char *method, const char *path,
                   const char *body, json_t **answer, struct err *err)
{
    struct client_server server;
    const struct client_call call = {.method = method, .path = path, .body = body, .signals = -1};
    const int result = client_of_data(settings, &server, err);
    return result ? result : client_ask(&server, &call, answer, NULL, err);
}

int client_query(char *path, size_t n, const char *key, const char *value, struct err *err)
{
    const size_t used = strlen(path);
    if (!value || !*value)
        return 0;
    char *encoded = curl_easy_escape(NULL, value, 0);
    if (!encoded)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    const int added =
        snprintf(path + used, n - used, "%c%s=%s", strchr(path, '?') ? '&' : '?', key, encoded);
    curl_free(encoded);
    if (added < 0 || used + (size_t)added >= n) {
        path[used] = '\0';
        return err_set(err, ERR_TOO_LARGE, "%s: %.40s... is too long", key, value);
    }
    return 0;
}
