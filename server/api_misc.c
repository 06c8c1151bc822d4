/* api_misc: what helps to write a job: presets, devices, the tokenizer, the
 * description of this API, the version. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/spec.h"
#include "server/api.h"
#include "server/datasets.h"
#include "server/json.h"
#include "server/presets.h"
#include "server/worker.h"

/* ---- presets ---- */

enum request_result api_presets(struct request *request)
{
    const struct presets *presets = request->server->presets;
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"presets\":[", buffer.out);
    for (int i = 0; i < presets->n; i++) {
        fputs(i ? ",\n{\"name\":" : "\n{\"name\":", buffer.out);
        json_write_string(buffer.out, presets->preset[i].name);
        fputs(",\"notes\":", buffer.out);
        json_write_string(buffer.out, presets->preset[i].notes);
        putc('}', buffer.out);
    }
    fputs("]}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, API_JSON);
}

enum request_result api_preset(struct request *request)
{
    const struct preset *preset = presets_find(request->server->presets, request->params[0]);
    char *copy = preset ? strdup(preset->spec) : NULL;
    if (copy)
        return request_reply(request, 200, API_JSON, copy, strlen(copy));
    if (preset)
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a preset");
    else
        err_set(&request->err, ERR_NOT_FOUND, "there is no preset \"%.80s\"", request->params[0]);
    return request_fail(request, &request->err);
}

/* ---- devices ---- */

static void device_write_number(FILE *out, const char *name, int value)
{
    if (value < 0)
        fprintf(out, ",\"%s\":null", name);
    else
        fprintf(out, ",\"%s\":%d", name, value);
}

static void device_write(FILE *out, const struct worker_status *status)
{
    const struct trainer_device *device = &status->device;
    fputs("{\"id\":", out);
    json_write_string(out, device->id);
    fputs(",\"kind\":", out);
    json_write_string(out, device->kind);
    fputs(",\"name\":", out);
    json_write_string(out, device->name);
    fprintf(out, ",\"memory_bytes\":%lld,\"free_bytes\":%lld,\"available\":%s,\"reason\":",
            (long long)device->memory_bytes, (long long)device->free_bytes,
            device->available ? "true" : "false");
    json_write_string(out, device->available ? NULL : device->reason);
    device_write_number(out, "utilisation_percent", device->utilisation);
    device_write_number(out, "temperature_celsius", device->temperature);
    fputs(",\"driver\":", out);
    json_write_string(out, device->driver[0] ? device->driver : NULL);
    fputs(",\"job\":", out);
    json_write_string(out, *status->job ? status->job : NULL);
    fprintf(out, ",\"trainer_running\":%s,\"faults\":%lld}", status->pid ? "true" : "false",
            (long long)status->faults);
}

enum request_result api_devices(struct request *request)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    struct request_buffer buffer;
    int n = 0;
    workers_devices(request->server->workers, status, TRAINER_DEVICES_MAX, &n);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"devices\":[", buffer.out);
    for (int i = 0; i < n; i++) {
        fputs(i ? ",\n" : "\n", buffer.out);
        device_write(buffer.out, &status[i]);
    }
    fputs("]}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, API_JSON);
}

/* ---- tokenize ---- */

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
        request_close_reply(request, &buffer, 200, API_JSON);
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

/* ---- about ---- */

enum request_result api_version(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"name\":\"tokenfate\",\"version\":", buffer.out);
    json_write_string(buffer.out, request->server->build);
    fputs(",\"api\":\"v1\",\"libmicrohttpd\":", buffer.out);
    json_write_string(buffer.out, MHD_get_version());
    fputs("}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, API_JSON);
}

enum request_result api_openapi(struct request *request)
{
    char path[SERVER_PATH_MAX];
    struct stat info;
    snprintf(path, sizeof path, "%s/openapi.json", request->server->settings.share);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !fstat(fd, &info))
        return request_reply_fd(request, 200, API_JSON, fd, (uint64_t)info.st_size);
    err_set_errno(&request->err, ERR_IO, "cannot read %s", path);
    if (fd >= 0)
        close(fd);
    return request_fail(request, &request->err);
}
