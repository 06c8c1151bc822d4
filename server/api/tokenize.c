/* tokenize: POST /tokenize: the ids and the texts of the tokens of a text. The route table
 * calls api_tokenize on a pool thread. The request owns the parsed body and the ids and
 * borrows the tokenizer from server/datasets, which keeps it for the life of the server. */
#include "server/api/tokenize.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/input.h"
#include "lab/bpe.h"
#include "server/datasets.h"

/* A token may be part of a UTF-8 sequence; emit_bytes replaces such bytes. */
static void tokenize_write(struct emit *json, const struct bpe *bpe, const char *name,
                           const int32_t *ids, size_t n)
{
    emit_object(json, NULL);
    emit_text(json, "tokenizer", name);
    emit_integer(json, "n", (int64_t)n);
    emit_array(json, "ids");
    for (size_t i = 0; i < n; i++)
        emit_integer(json, NULL, ids[i]);
    emit_end(json);
    emit_array(json, "pieces");
    for (size_t i = 0; i < n; i++) {
        size_t length = 0;
        const char *piece = bpe_token(bpe, ids[i], &length);
        emit_bytes(json, NULL, piece ? piece : "", length);
    }
    emit_end(json);
    emit_end(json);
}

static enum request_result tokenize_answer(struct request *request, const struct bpe *bpe,
                                           const char *name, const char *text, size_t bytes)
{
    int32_t *ids = NULL;
    size_t n = 0;
    struct request_buffer buffer;
    if (bpe_encode(bpe, text, bytes, &ids, &n, &request->err))
        return request_fail(request, &request->err);
    if (!request_open(request, &buffer)) {
        tokenize_write(&buffer.json, bpe, name, ids, n);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    free(ids);
    return REQUEST_DONE;
}

/* Check the fields of {"text", "tokenizer"}; ERR_INVALID lists every bad one. */
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
    const char *tokenizer = NULL;
    const struct bpe *bpe = NULL;
    struct err *err = &request->err, missing = ERR_INIT;
    json_t *body = input_json(request->body, request->n_body, INPUT_ZEROS, err);
    if (!body)
        return request_fail(request, err);
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
