/* json: see json.h. */
#include "server/json.h"

#include <string.h>
#include <time.h>

/* Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
int json_utf8_length(const unsigned char *bytes, size_t n)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xBF;
    int length;
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        length = 2;
    else if (first >= 0xE0 && first <= 0xEF)
        length = 3;
    else if (first >= 0xF0 && first <= 0xF4)
        length = 4;
    else
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if ((size_t)length > n || bytes[1] < low || bytes[1] > high)
        return 0;
    for (int i = 2; i < length; i++)
        if (bytes[i] < 0x80 || bytes[i] > 0xBF)
            return 0;
    return length;
}

static void json_write_ascii(FILE *out, unsigned char c)
{
    static const char escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; i + 1 < sizeof escapes; i += 2)
        if ((unsigned char)escapes[i] == c) {
            putc('\\', out);
            putc(escapes[i + 1], out);
            return;
        }
    if (c < 0x20 || c == 0x7F)
        fprintf(out, "\\u%04x", c);
    else
        putc(c, out);
}

void json_write_bytes(FILE *out, const char *text, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)text;
    putc('"', out);
    for (size_t i = 0; i < n;) {
        int length = json_utf8_length(bytes + i, n - i);
        if (length == 1)
            json_write_ascii(out, bytes[i]);
        else if (length > 1)
            fwrite(bytes + i, 1, (size_t)length, out);
        else
            fputs("\xEF\xBF\xBD", out);
        i += length ? (size_t)length : 1;
    }
    putc('"', out);
}

void json_write_string(FILE *out, const char *text)
{
    if (text)
        json_write_bytes(out, text, strlen(text));
    else
        fputs("null", out);
}

void json_write_time(FILE *out, int64_t microseconds)
{
    if (!microseconds) {
        fputs("null", out);
        return;
    }
    time_t seconds = (time_t)(microseconds / 1000000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(out, "\"%s.%06dZ\"", text, (int)(microseconds % 1000000));
}

void json_write_raw(FILE *out, const char *json)
{
    fputs(json ? json : "null", out);
}
