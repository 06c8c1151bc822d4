/* redact: see redact.h. */
#include "server/redact.h"

#include <stdio.h>
#include <string.h>

/* May a path begin behind this character? */
static int is_boundary(char before)
{
    return strchr(" \t\n\"'(:=,", before) != NULL; /* the zero too */
}

/* The folder's bytes without slashes at its end; 0 unless it is absolute and not "/". */
static size_t folder_bytes(const char *folder, size_t n)
{
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return n > 1 && folder[0] == '/' ? n : 0;
}

/* In place: what is left is shorter. A folder that stands alone becomes ".". */
static int redact_folder(char *text, const char *folder, size_t n)
{
    int found = 0;
    char *at = text;
    while (n && (at = memmem(at, strlen(at), folder, n))) {
        const char after = at[n];
        if ((at > text && !is_boundary(at[-1])) || (after != '/' && !is_boundary(after))) {
            at += n;
            continue;
        }
        if (after != '/')
            *at++ = '.';
        char *rest = after == '/' ? at + n + strspn(at + n, "/") : at - 1 + n;
        memmove(at, rest, strlen(rest) + 1);
        found = 1;
    }
    return found;
}

/* The folder of the trainer, which is beside this program unless the settings name it. */
static int redact_trainer(const struct settings *settings, char *text)
{
    char path[SETTINGS_TEXT_MAX] = "";
    struct err err = ERR_INIT;
    if (settings->trainer[0])
        snprintf(path, sizeof path, "%s", settings->trainer);
    else if (settings_beside("tokenfate-trainer", path, sizeof path, &err))
        return 0;
    const char *slash = strrchr(path, '/');
    return slash ? redact_folder(text, path, folder_bytes(path, (size_t)(slash - path))) : 0;
}

int redact_text(const struct settings *settings, char *text)
{
    const char *const lists[] = {settings->data, settings->share, settings->corpus_path};
    int found = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const char *folder = lists[i]; *folder;) {
            const size_t n = strcspn(folder, ":");
            found |= redact_folder(text, folder, folder_bytes(folder, n));
            folder += n + (folder[n] == ':');
        }
    return found | redact_trainer(settings, text);
}

int redact_err(const struct settings *settings, struct err *err)
{
    int found = redact_text(settings, err->message);
    for (int i = 0; i < err->n_fields; i++)
        found |= redact_text(settings, err->fields[i].detail);
    return found;
}

void redact_url(const char *url, char *out, size_t n)
{
    const char *scheme_end = strstr(url, "://");
    const char *host = scheme_end ? scheme_end + 3 : url;
    const size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *shown = at ? at + 1 : host, *end = host + authority;
    const int is_whole = *end == '\0' || (*end == '/' && !end[1]);
    snprintf(out, n, "%.*s%.*s/%s", (int)(host - url), url, (int)(end - shown), shown,
             is_whole ? "" : "\xe2\x80\xa6");
}
