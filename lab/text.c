/* text: see text.h. Reads a corpus whole, checks its UTF-8, makes the variants, and finds
 * files by name in the folders of corpus_path.
 *
 * Called by lab/dataset and lab/bpe, and by the server for uploads and the list of corpora;
 * any thread. Invariant: a name never leads outside of a folder of corpus_path (no '/', no
 * leading '.'). */
#include "lab/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/utf8.h"

const struct text_known text_known[] = {
    {"gulliver", "pg829.txt", "https://www.gutenberg.org/cache/epub/829/pg829.txt",
     "695e3237c3072d0d21a792aa1832f8494e734476a916d1a7fe3d5d6c6e9fc316"},
    {NULL, NULL, NULL, NULL},
};

/* ---- reading ---- */

static int check_file(int fd, const char *path, size_t *n, struct err *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return err_set_errno(err, ERR_IO, "reading %s", path);
    if (!S_ISREG(info.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    if (info.st_size == 0)
        return err_set(err, ERR_INVALID, "%s is empty", path);
    if (info.st_size > TEXT_BYTES_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s has %lld bytes; the limit is %d", path,
                       (long long)info.st_size, TEXT_BYTES_MAX);
    *n = (size_t)info.st_size;
    return 0;
}

int text_read(const char *path, struct text *out, struct err *err)
{
    int result = -1;
    size_t n = 0;
    char *bytes = NULL;
    /* O_NONBLOCK: refuse a FIFO instead of waiting for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "text %s", path);
    if (check_file(fd, path, &n, err) < 0)
        goto out;
    bytes = malloc(n + 1);
    if (bytes == NULL) {
        err_set(err, ERR_NO_MEMORY, "no memory for the %zu bytes of %s", n, path);
        goto out;
    }
    if (file_read_whole(fd, bytes, n, path, err) < 0)
        goto out;
    bytes[n] = '\0';
    *out = (struct text){.bytes = bytes, .n = n};
    bytes = NULL;
    result = 0;
out:
    free(bytes);
    close(fd);
    return result;
}

void text_free(struct text *text)
{
    if (text == NULL)
        return;
    free(text->bytes);
    *text = (struct text){0};
}

/* ---- UTF-8 ---- */

int text_check_utf8(const char *bytes, size_t n, struct err *err)
{
    const size_t at = utf8_valid(bytes, n);
    if (at < n)
        return err_set(err, ERR_INVALID, "byte %zu (0x%02x) is not UTF-8", at,
                       (unsigned char)bytes[at]);
    return 0;
}

/* ---- variants ---- */

/* Length of the line that starts at p, with its '\n'. */
static size_t line_bytes(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    return newline == NULL ? (size_t)(end - p) : (size_t)(newline - p) + 1;
}

/* 1 for Project Gutenberg's line "*** START OF ..." (word START) or END. Old files have no
 * space after the stars, and THIS for THE. */
static int is_marker(const char *line, size_t n, const char *word)
{
    size_t length = strlen(word), at = 3;
    if (n < 3 || memcmp(line, "***", 3) != 0)
        return 0;
    while (at < n && line[at] == ' ')
        at++;
    if (n - at < length || memcmp(line + at, word, length) != 0)
        return 0;
    return memmem(line + at, n - at, "PROJECT GUTENBERG", strlen("PROJECT GUTENBERG")) != NULL;
}

/* Narrow [*from, *to) to the text between the two lines. */
static int find_body(const char **from, const char **to, struct err *err)
{
    const char *p = *from, *end = *to, *start = NULL;
    for (size_t n; p < end; p += n) {
        n = line_bytes(p, end);
        if (start == NULL && is_marker(p, n, "START OF TH")) {
            start = p + n;
        } else if (start != NULL && is_marker(p, n, "END OF TH")) {
            *from = start;
            *to = p;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID,
                   "variant body: the text has no line \"*** %s OF ... PROJECT GUTENBERG ...\"",
                   start == NULL ? "START" : "END");
}

int text_make_variant(struct text *text, enum spec_variant variant, struct err *err)
{
    if (variant == VARIANT_RAW)
        return 0;
    const char *from = text->bytes, *to = text->bytes + text->n;
    if (text->n >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0)
        from += 3;
    if (variant == VARIANT_BODY && find_body(&from, &to, err) < 0)
        return -1;
    if (from == to)
        return err_set(err, ERR_INVALID, "nothing is left of the text in this variant");

    char *out = text->bytes;
    for (const char *p = from; p < to; p++)
        if (p[0] != '\r' || p + 1 == to || p[1] != '\n')
            *out++ = *p;
    *out = '\0';
    text->n = (size_t)(out - text->bytes);
    return 0;
}

/* ---- finding ---- */

const struct text_known *text_known_find(const char *name)
{
    for (const struct text_known *known = text_known; known->name != NULL; known++)
        if (strcmp(known->name, name) == 0)
            return known;
    return NULL;
}

static int is_regular(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int text_find(const char *corpus_path, const char *name, char *path, size_t n, struct err *err)
{
    const struct text_known *known = text_known_find(name);
    const char *file = known != NULL ? known->file : name;
    int inside = file[0] != '\0' && file[0] != '.' && strchr(file, '/') == NULL;
    for (const char *folder = corpus_path; inside && *folder != '\0';) {
        char candidate[PATH_MAX];
        size_t length = strcspn(folder, ":");
        int bytes = snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)length, folder, file);
        if (length > 0 && bytes > 0 && (size_t)bytes < sizeof(candidate) && (size_t)bytes < n &&
            is_regular(candidate)) {
            memcpy(path, candidate, (size_t)bytes + 1);
            return 0;
        }
        folder += length + (folder[length] == ':');
    }
    return err_set(err, ERR_NOT_FOUND,
                   "no text \"%.*s\" in %s (corpus_path)%s%s%s%s; \"" TEXT_SYNTHETIC
                   "\" needs no file",
                   SPEC_CORPUS_MAX, name, corpus_path, known != NULL ? ": save " : "",
                   known != NULL ? known->url : "", known != NULL ? " there as " : "",
                   known != NULL ? known->file : "");
}
