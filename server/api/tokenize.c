/* tokenize: POST /tokenize: a text as the ids and bytes of a tokenizer. Pool. */
#include "server/api/tokenize.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/datasets.h"
#include "server/json.h"

static enum request_result tokenize_answer(struct request *request, const struct bpe *bpe,
                                           const char *name, const char *text, size_t bytes)
{
    int32_t *ids = NULL;
    size_t n = 0;
    struct request_buffer buffer;
    if (bpe_encode(bpe, text, bytes, &ids, &n, &request->err))
        return request_fail(request, &request->err);
    if (!request_open(request, &buffer)) {
        fprintf(buffer.out, "{\"tokenizer\":\"%s\",\"n\":%zu,\"ids\":[", name, n);
        for (size_t i = 0; i < n; i++)
            fprintf(buffer.out, "%s%d", i ? "," : "", ids[i]);
        fputs("],\"pieces\":[", buffer.out);
        for (size_t i = 0; i < n; i++) {
            size_t length = 0;
            const char *piece = bpe_token(bpe, ids[i], &length);
            fputs(i ? "," : "", buffer.out);
            json_write_bytes(buffer.out, piece ? piece : "", length);
        }
        fputs("]}\n", buffer.out);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    free(ids);
    return REQUEST_DONE;
}

/* Fields of {"text", "tokenizer"}, every bad one at once. */
static int tokenize_check(json_t *body, const char **tokenizer, struct err *err)
{
    const char *key;
    json_t *value;
    char pointer[ERR_POINTER_MAX];
    if (!json_is_object(body))
        return err_set(err, ERR_MALFORMED, "the body must be a JSON object");
    json_object_foreach(body, key, value)
    {
        snprintf(pointer, sizeof pointer, "/%.90s", key);
        if (strcmp(key, "text") != 0 && strcmp(key, "tokenizer") != 0)
            err_field(err, pointer, "is not a field of this request");
        else if (!json_is_string(value))
            err_field(err, pointer, "must be a string");
    }
    if (!json_object_get(body, "text"))
        err_field(err, "/text", "is missing");
    *tokenizer = json_string_value(json_object_get(body, "tokenizer"));
    if (!*tokenizer)
        *tokenizer = "gpt2";
    return err->n_fields ? -1 : 0;
}

enum request_result api_tokenize(struct request *request)
{
    json_error_t where;
    const char *tokenizer = NULL;
    const struct bpe *bpe = NULL;
    struct err *err = &request->err, missing;
    json_t *body = json_loadb(request->body ? request->body : "", request->n_body,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    err_clear(&missing);
    if (!body) {
        err_set(err, ERR_MALFORMED, "line %d, column %d: %s", where.line, where.column, where.text);
        return request_fail(request, err);
    }
    json_t *text = json_object_get(body, "text");
    if (tokenize_check(body, &tokenizer, err)) {
        request_fail(request, err);
    } else if (datasets_tokenizer(request->server->datasets, tokenizer, &bpe, &missing)) {
        err_field(err, "/tokenizer", "%.200s", missing.message);
        request_fail(request, missing.code == ERR_NOT_FOUND ? err : &missing);
    } else {
        tokenize_answer(request, bpe, tokenizer, json_string_value(text), json_string_length(text));
    }
    json_decref(body);
    return REQUEST_DONE;
}
