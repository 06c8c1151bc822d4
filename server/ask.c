/* ask: see ask.h. */
#include "server/ask.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/server.h"

enum {
    ASK_SECONDS = 30,         /* for one answer; a commit waits for those before it */
    ASK_LINE_MAX = 512,       /* bytes of an address or a secret */
    ASK_HEADER_MAX = 1024,    /* bytes of a header with one of these */
    ASK_ANSWER_MAX = 1 << 20, /* bytes of an answer: all are a few hundred */
};

struct ask {
    char url[ASK_HEADER_MAX], authorization[ASK_HEADER_MAX];
    CURL *curl;
    struct curl_slist *headers;
    char *body;
    FILE *out; /* the answer */
    char *bytes;
    size_t n;
};

/* The only line of a file in the data folder. 1 if there is none. */
static int ask_read(const struct settings *settings, const char *name, char *line, struct err *err)
{
    char path[SERVER_PATH_MAX];
    if (server_data_path(settings, path, sizeof path, err, "%s", name))
        return -1;
    FILE *in = fopen(path, "re");
    int missing = !in && errno == ENOENT;
    if (!in)
        err_set_errno(err, ERR_IO, "cannot read %s", path);
    char *read = in ? fgets(line, ASK_LINE_MAX, in) : NULL;
    if (in)
        fclose(in);
    if (!in)
        return missing ? 1 : -1;
    if (!read)
        return err_set(err, ERR_IO, "%s is empty", path);
    line[strcspn(line, "\n")] = '\0';
    return 0;
}

static int ask_prepare(struct ask *ask, const struct settings *settings, const char *path,
                       struct err *err)
{
    char address[ASK_LINE_MAX], secret[ASK_LINE_MAX];
    int result = ask_read(settings, "address", address, err);
    if (!result)
        result = ask_read(settings, "secret", secret, err);
    if (result)
        return result;
    snprintf(ask->url, sizeof ask->url, "%s/api/v1%s", address, path);
    snprintf(ask->authorization, sizeof ask->authorization, "Authorization: Bearer %s", secret);
    return 0;
}

static size_t ask_take(char *data, size_t size, size_t n, void *self)
{
    struct ask *ask = self;
    long so_far = ftell(ask->out);
    if (so_far < 0 || (size_t)so_far + size * n > ASK_ANSWER_MAX)
        return 0;
    return fwrite(data, size, n, ask->out);
}

static int ask_add(struct ask *ask, const char *header)
{
    struct curl_slist *longer = curl_slist_append(ask->headers, header);
    if (longer)
        ask->headers = longer;
    return longer ? 0 : -1;
}

static int ask_open(struct ask *ask, const char *method, const json_t *body, struct err *err)
{
    ask->curl = curl_easy_init();
    ask->out = open_memstream(&ask->bytes, &ask->n);
    ask->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!ask->curl || !ask->out || (body && !ask->body) || ask_add(ask, ask->authorization) ||
        (body && ask_add(ask, "Content-Type: application/json")))
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    curl_easy_setopt(ask->curl, CURLOPT_URL, ask->url);
    curl_easy_setopt(ask->curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(ask->curl, CURLOPT_PROXY, ""); /* whatever the environment names */
    curl_easy_setopt(ask->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(ask->curl, CURLOPT_TIMEOUT, (long)ASK_SECONDS);
    curl_easy_setopt(ask->curl, CURLOPT_HTTPHEADER, ask->headers);
    curl_easy_setopt(ask->curl, CURLOPT_CUSTOMREQUEST, method);
    if (ask->body)
        curl_easy_setopt(ask->curl, CURLOPT_POSTFIELDS, ask->body);
    curl_easy_setopt(ask->curl, CURLOPT_WRITEFUNCTION, ask_take);
    curl_easy_setopt(ask->curl, CURLOPT_WRITEDATA, ask);
    return 0;
}

static int ask_perform(struct ask *ask, struct err *err)
{
    CURLcode code = curl_easy_perform(ask->curl);
    if (fclose(ask->out))
        code = CURLE_OUT_OF_MEMORY;
    ask->out = NULL;
    if (code == CURLE_OK)
        return 0;
    if (code == CURLE_COULDNT_CONNECT) {
        err_set(err, ERR_UNAVAILABLE, "%s: %s", ask->url, curl_easy_strerror(code));
        return 1;
    }
    return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO,
                   "%s: %s; whether it was done is not known", ask->url, curl_easy_strerror(code));
}

/* The answer, or the problem it is. */
static int ask_understand(struct ask *ask, json_t **answer, struct err *err)
{
    long status = 0;
    json_t *body = ask->n ? json_loadb(ask->bytes, ask->n, 0, NULL) : NULL;
    curl_easy_getinfo(ask->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2 && (body || !ask->n)) {
        *answer = body;
        return 0;
    }
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *detail = json_string_value(json_object_get(body, "detail"));
    if (code && detail)
        err_set(err, err_from_name(code), "%s", detail);
    else
        err_set(err, ERR_PROTOCOL, "%s answered %ld in words that are not ours", ask->url, status);
    json_decref(body);
    return -1;
}

int ask_server(const struct settings *settings, const char *method, const char *path,
               const json_t *body, json_t **answer, struct err *err)
{
    struct ask ask = {.n = 0};
    int result = ask_prepare(&ask, settings, path, err);
    if (!result)
        result = ask_open(&ask, method, body, err);
    if (!result)
        result = ask_perform(&ask, err);
    if (!result)
        result = ask_understand(&ask, answer, err);
    if (ask.out)
        fclose(ask.out);
    curl_slist_free_all(ask.headers);
    curl_easy_cleanup(ask.curl);
    free(ask.bytes);
    free(ask.body);
    return result;
}
