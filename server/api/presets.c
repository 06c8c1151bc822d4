/* presets: see presets.h. */
#include "server/api/presets.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/spec.h"

/* The whole file (malloc), at most SPEC_BYTES_MAX. */
static char *presets_read(const char *path, size_t *n, struct err *err)
{
    FILE *in = fopen(path, "re");
    char *text = in ? malloc(SPEC_BYTES_MAX) : NULL;
    if (!in)
        err_set_errno(err, ERR_IO, "cannot read %s", path);
    else if (!text)
        err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
    else
        *n = fread(text, 1, SPEC_BYTES_MAX, in);
    if (in)
        fclose(in);
    return text;
}

static int presets_add(struct presets *presets, const char *folder, const char *file,
                       struct err *err)
{
    char path[4096 + 256];
    size_t n = 0;
    struct spec *spec = NULL;
    struct preset *preset = &presets->preset[presets->n];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    char *text = presets_read(path, &n, err);
    if (!text)
        return -1;
    int failed = spec_parse(text, n, &spec, err);
    free(text);
    if (failed)
        return err_prefix(err, "preset %s", path);
    snprintf(preset->name, sizeof preset->name, "%.*s", (int)(strlen(file) - 5), file);
    preset->spec = spec_print(spec);
    preset->notes = strdup(spec->notes);
    spec_free(spec);
    presets->n++; /* counted before the check, so that presets_close frees it */
    if (!preset->spec || !preset->notes)
        return err_set(err, ERR_NO_MEMORY, "no memory for presets");
    return 0;
}

static int presets_wanted(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 5 && n < 100 &&
           strcmp(entry->d_name + n - 5, ".json") == 0;
}

int presets_open(const char *share, struct presets **out, struct err *err)
{
    char folder[4096];
    struct dirent **entries = NULL;
    int failed = 0;
    struct presets *presets = calloc(1, sizeof *presets);
    if (!presets)
        return err_set(err, ERR_NO_MEMORY, "no memory for presets");
    snprintf(folder, sizeof folder, "%s/presets", share);
    int n = scandir(folder, &entries, presets_wanted, alphasort);
    if (n < 0)
        failed = err_set_errno(err, ERR_IO, "cannot read %s", folder);
    for (int i = 0; i < n; i++) {
        if (!failed && presets->n < PRESETS_MAX)
            failed = presets_add(presets, folder, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    if (failed) {
        presets_close(presets);
        return -1;
    }
    *out = presets;
    return 0;
}

void presets_close(struct presets *presets)
{
    if (!presets)
        return;
    for (int i = 0; i < presets->n; i++) {
        free(presets->preset[i].spec);
        free(presets->preset[i].notes);
    }
    free(presets);
}

const struct preset *presets_find(const struct presets *presets, const char *name)
{
    for (int i = 0; i < presets->n; i++)
        if (strcmp(presets->preset[i].name, name) == 0)
            return &presets->preset[i];
    return NULL;
}

/* ---- GET ---- */

enum request_result api_presets(struct request *request)
{
    const struct presets *presets = request->server->presets;
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_array(&buffer.json, "presets");
    for (int i = 0; i < presets->n; i++) {
        emit_object(&buffer.json, NULL);
        emit_text(&buffer.json, "name", presets->preset[i].name);
        emit_text(&buffer.json, "notes", presets->preset[i].notes);
        emit_end(&buffer.json);
    }
    emit_end(&buffer.json);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_preset(struct request *request)
{
    const struct preset *preset = presets_find(request->server->presets, request->params[0]);
    char *copy = preset ? strdup(preset->spec) : NULL;
    if (copy)
        return request_reply(request, 200, MEDIA_JSON, copy, strlen(copy));
    if (preset)
        err_set(&request->err, ERR_NO_MEMORY, "no memory for a preset");
    else
        err_set(&request->err, ERR_NOT_FOUND, "there is no preset \"%.80s\"", request->params[0]);
    return request_fail(request, &request->err);
}
