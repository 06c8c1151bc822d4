/* client: see client.h. */
#include "server/cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/data.h"
#include "server/server.h"

enum {
    CLIENT_SECONDS = 30,         /* for one answer: its commit may queue behind others */
    CLIENT_LINE_MAX = 512,       /* bytes of an address or a secret */
    CLIENT_HEADER_MAX = 1024,    /* bytes of a URL or header that contains one of these */
    CLIENT_ANSWER_MAX = 1 << 20, /* bytes of an answer; the usual ones have a few hundred */
};

struct client {
    char url[CLIENT_HEADER_MAX], authorization[CLIENT_HEADER_MAX];
    char certificate[DATA_PATH_MAX]; /* of a server with TLS, in the data folder */
    CURL *curl;
    struct curl_slist *headers;
    FILE *out; /* the answer */
    char *bytes;
    size_t n;
};

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

static int client_prepare(struct client *client, const struct settings *settings, const char *path,
                          struct err *err)
{
    char address[CLIENT_LINE_MAX], secret[CLIENT_LINE_MAX];
    int result = client_read(settings, "address", address, err);
    if (!result)
        result = client_read(settings, "secret", secret, err);
    if (!result)
        result = data_path(settings, client->certificate, sizeof client->certificate, err,
                           "certificate");
    if (result)
        return result;
    snprintf(client->url, sizeof client->url, "%s/api/v1%s", address, path);
    snprintf(client->authorization, sizeof client->authorization, "Authorization: Bearer %s",
             secret);
    return 0;
}

/* libcurl's callback for bytes of the answer. A return value below size * n aborts the
 * transfer. */
static size_t client_take(char *data, size_t size, size_t n, void *self)
{
    struct client *client = self;
    long so_far = ftell(client->out);
    if (so_far < 0 || (size_t)so_far + size * n > CLIENT_ANSWER_MAX)
        return 0;
    return fwrite(data, size, n, client->out);
}

/* Append a header. curl_slist_append returns NULL on failure and leaves the list as it was. */
static int client_add(struct client *client, const char *header)
{
    struct curl_slist *longer = curl_slist_append(client->headers, header);
    if (longer)
        client->headers = longer;
    return longer ? 0 : -1;
}

static int client_open(struct client *client, const char *method, const char *body, struct err *err)
{
    client->curl = curl_easy_init();
    client->out = open_memstream(&client->bytes, &client->n);
    if (!client->curl || !client->out || client_add(client, client->authorization) ||
        (body && client_add(client, "Content-Type: application/json")))
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    curl_easy_setopt(client->curl, CURLOPT_URL, client->url);
    curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    /* The server is known by the certificate that it left in the data folder and by no other,
     * so its name, which may not be that of the address, tells nothing more. */
    curl_easy_setopt(client->curl, CURLOPT_CAINFO, client->certificate);
    curl_easy_setopt(client->curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(client->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(client->curl, CURLOPT_PROXY, ""); /* no proxy of the environment either */
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, (long)CLIENT_SECONDS);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    if (body)
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, client_take);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
    return 0;
}

static int client_perform(struct client *client, struct err *err)
{
    CURLcode code = curl_easy_perform(client->curl);
    if (fclose(client->out))
        code = CURLE_OUT_OF_MEMORY;
    client->out = NULL;
    if (code == CURLE_OK)
        return 0;
    /* Only without a connection is it certain that the server has done nothing. */
    if (code == CURLE_COULDNT_CONNECT) {
        err_set(err, ERR_UNAVAILABLE, "%s: %s", client->url, curl_easy_strerror(code));
        return 1;
    }
    return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO,
                   "%s: %s; whether it was done is not known", client->url,
                   curl_easy_strerror(code));
}

/* Parse the answer: JSON of a success, or a problem document (code, detail) into *err. */
static int client_understand(struct client *client, json_t **answer, struct err *err)
{
    long status = 0;
    json_t *body = client->n ? json_loadb(client->bytes, client->n, 0, NULL) : NULL;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2 && (body || !client->n)) {
        *answer = body;
        return 0;
    }
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *detail = json_string_value(json_object_get(body, "detail"));
    if (code && detail)
        err_set(err, err_from_name(code), "%s", detail);
    else
        err_set(err, ERR_PROTOCOL, "%s answered %ld in words that are not ours", client->url,
                status);
    json_decref(body);
    return -1;
}

int client_request(const struct settings *settings, const char *method, const char *path,
                   const char *body, json_t **answer, struct err *err)
{
    struct client client = {.n = 0};
    int result = client_prepare(&client, settings, path, err);
    if (!result)
        result = client_open(&client, method, body, err);
    if (!result)
        result = client_perform(&client, err);
    if (!result)
        result = client_understand(&client, answer, err);
    if (client.out)
        fclose(client.out);
    curl_slist_free_all(client.headers);
    curl_easy_cleanup(client.curl);
    free(client.bytes);
    return result;
}
