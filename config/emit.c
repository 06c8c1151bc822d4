/* emit: see emit.h. */
#include "config/emit.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/utf8.h"

void emit_open(struct emit *emit, FILE *out, enum emit_style style)
{
    *emit = (struct emit){.out = out, .style = style};
}

int emit_open_text(struct emit *emit)
{
    emit_open(emit, NULL, EMIT_COMPACT);
    emit->out = open_memstream(&emit->text, &emit->n_text);
    return emit->out ? 0 : -1;
}

char *emit_close_text(struct emit *emit)
{
    if (fclose(emit->out) == 0)
        return emit->text;
    free(emit->text);
    return NULL;
}

/* ---- strings ---- */

static void emit_ascii(FILE *out, unsigned char c)
{
    static const char escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; i + 1 < sizeof escapes; i += 2)
        if ((unsigned char)escapes[i] == c) {
            putc('\\', out);
            putc(escapes[i + 1], out);
            return;
        }
    if (c < 0x20 || c == 0x7f)
        fprintf(out, "\\u%04x", c);
    else
        putc(c, out);
}

static void emit_quoted(FILE *out, const char *bytes, size_t n)
{
    putc('"', out);
    for (size_t i = 0; i < n;) {
        const size_t length = utf8_length(bytes + i, n - i);
        if (length == 1)
            emit_ascii(out, (unsigned char)bytes[i]);
        else if (length > 1)
            fwrite(bytes + i, 1, length, out);
        else
            fputs("\xEF\xBF\xBD", out); /* U+FFFD */
        i += length ? length : 1;
    }
    putc('"', out);
}

/* ---- structure ---- */

/* The comma, the line and the key that stand before a value. */
static void emit_start(struct emit *emit, const char *key, int is_container)
{
    if (emit->depth == 0) {
        assert(!key);
        return;
    }
    assert((key != NULL) == (emit->level[emit->depth - 1].end == '}'));
    if (emit->level[emit->depth - 1].filled++)
        putc(',', emit->out);
    if (emit->style == EMIT_LINES && is_container && !key)
        putc('\n', emit->out);
    if (key) {
        emit_quoted(emit->out, key, strlen(key));
        putc(':', emit->out);
    }
}

/* After the outermost value. */
static void emit_finish(struct emit *emit)
{
    if (emit->depth == 0 && emit->style == EMIT_LINES)
        putc('\n', emit->out);
}

static void emit_container(struct emit *emit, const char *key, char start, char end)
{
    emit_start(emit, key, 1);
    assert(emit->depth < EMIT_DEPTH_MAX);
    putc(start, emit->out);
    emit->level[emit->depth].end = end;
    emit->level[emit->depth].filled = 0;
    emit->depth++;
}

void emit_object(struct emit *emit, const char *key)
{
    emit_container(emit, key, '{', '}');
}

void emit_array(struct emit *emit, const char *key)
{
    emit_container(emit, key, '[', ']');
}

void emit_end(struct emit *emit)
{
    assert(emit->depth > 0);
    putc(emit->level[--emit->depth].end, emit->out);
    emit_finish(emit);
}

/* ---- values ---- */

void emit_raw(struct emit *emit, const char *key, const char *json)
{
    emit_start(emit, key, 0);
    fputs(json ? json : "null", emit->out);
    emit_finish(emit);
}

void emit_null(struct emit *emit, const char *key)
{
    emit_raw(emit, key, NULL);
}

void emit_bool(struct emit *emit, const char *key, int value)
{
    emit_raw(emit, key, value ? "true" : "false");
}

void emit_bytes(struct emit *emit, const char *key, const char *bytes, size_t n)
{
    emit_start(emit, key, 0);
    emit_quoted(emit->out, bytes, n);
    emit_finish(emit);
}

void emit_text(struct emit *emit, const char *key, const char *text)
{
    if (text)
        emit_bytes(emit, key, text, strlen(text));
    else
        emit_null(emit, key);
}

void emit_integer(struct emit *emit, const char *key, int64_t value)
{
    char text[EMIT_NUMBER_BYTES];
    snprintf(text, sizeof text, "%" PRId64, value);
    emit_raw(emit, key, text);
}

void emit_format(char text[EMIT_NUMBER_BYTES], double value)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, EMIT_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

void emit_number(struct emit *emit, const char *key, double value)
{
    char text[EMIT_NUMBER_BYTES];
    if (isfinite(value))
        emit_format(text, value);
    emit_raw(emit, key, isfinite(value) ? text : NULL);
}

void emit_float(struct emit *emit, const char *key, float value)
{
    char text[EMIT_NUMBER_BYTES];
    for (int digits = 6; digits <= 9 && isfinite(value); digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    emit_raw(emit, key, isfinite(value) ? text : NULL);
}

void emit_time(struct emit *emit, const char *key, int64_t microseconds)
{
    time_t seconds = (time_t)(microseconds / 1000000);
    struct tm utc;
    char date[32], text[64];
    if (!microseconds) {
        emit_null(emit, key);
        return;
    }
    gmtime_r(&seconds, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof text, "\"%s.%06dZ\"", date, (int)(microseconds % 1000000));
    emit_raw(emit, key, text);
}
