/* text_name: see text_name.h. */
#include "config/text_name.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/spec.h"
#include "config/utf8.h"

enum { TEXT_NAME_QUOTED = 96 }; /* bytes of a quoted name, with its zero: fits ERR_DETAIL_MAX */

/* Characters that no name has, ascending (Unicode 15: UnicodeData, PropList,
 * DerivedCoreProperties). Noncharacters at the end of a plane are found by arithmetic. */
static const struct refused {
    uint32_t from, to;
    const char *why;
} refused[] = {
    {0x0001, 0x001F, "a control character"},
    {'/', '/', "a separator of paths"},
    {0x007F, 0x009F, "a control character"},
    {0x00A0, 0x00A0, "a blank other than U+0020"},
    {0x00AD, 0x00AD, "an invisible character"},
    {0x0300, 0x036F, "a combining mark; use the composed letter"},
    {0x061C, 0x061C, "a bidi control"},
    {0x1100, 0x11FF, "a part of a syllable; use the composed one"},
    {0x1680, 0x1680, "a blank other than U+0020"},
    {0x17B4, 0x17B5, "an invisible character"},
    {0x180B, 0x180F, "an invisible character"},
    {0x1AB0, 0x1AFF, "a combining mark"},
    {0x1DC0, 0x1DFF, "a combining mark"},
    {0x2000, 0x200A, "a blank other than U+0020"},
    {0x200B, 0x200D, "an invisible character"},
    {0x200E, 0x200F, "a bidi control"},
    {0x2028, 0x2029, "an end of line"},
    {0x202A, 0x202E, "a bidi control"},
    {0x202F, 0x202F, "a blank other than U+0020"},
    {0x205F, 0x205F, "a blank other than U+0020"},
    {0x2060, 0x2065, "an invisible character"},
    {0x2066, 0x2069, "a bidi control"},
    {0x206A, 0x206F, "an invisible character"},
    {0x20D0, 0x20FF, "a combining mark"},
    {0x2460, 0x24FF, "another form of a letter or digit"},
    {0x2800, 0x2800, "an invisible character"},
    {0x3000, 0x3000, "a blank other than U+0020"},
    {0x3164, 0x3164, "an invisible character"},
    {0xFDD0, 0xFDEF, "no character"},
    {0xFE00, 0xFE0F, "an invisible character"},
    {0xFE20, 0xFE2F, "a combining mark"},
    {0xFEFF, 0xFEFF, "an invisible character"},
    {0xFF01, 0xFF5E, "another form of an ASCII character"},
    {0xFFA0, 0xFFA0, "an invisible character"},
    {0xFFF0, 0xFFFB, "an invisible character"},
    {0x1BCA0, 0x1BCA3, "an invisible character"},
    {0x1D173, 0x1D17A, "an invisible character"},
    {0x1D400, 0x1D7FF, "another form of a letter or digit"},
    {0xE0000, 0xE0FFF, "an invisible character"},
};

/* The character at `at`, well-formed, of *n bytes. */
static uint32_t character(const char *at, size_t *n)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    *n = utf8_length(at, strlen(at));
    uint32_t c = (unsigned char)at[0] & masks[*n];
    for (size_t i = 1; i < *n; i++)
        c = c << 6 | ((unsigned char)at[i] & 0x3F);
    return c;
}

/* NULL: a name may have this character. */
static const char *refusal(uint32_t c)
{
    if ((c & 0xFFFE) == 0xFFFE)
        return "no character";
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (c >= refused[i].from && c <= refused[i].to)
            return refused[i].why;
    return NULL;
}

/* The name as a message can show it: what no name has is written in ASCII. */
static void quote(const char *name, char quoted[TEXT_NAME_QUOTED])
{
    size_t used = 0;
    for (size_t at = 0, n; name[at]; at += n) {
        char piece[16];
        n = utf8_length(name + at, strlen(name + at));
        const uint32_t c = n ? character(name + at, &n) : 0;
        if (!n)
            snprintf(piece, sizeof piece, "\\x%02x", (unsigned)(unsigned char)name[at]);
        else if (c != '/' && refusal(c))
            snprintf(piece, sizeof piece, "\\u{%04X}", (unsigned)c);
        else
            snprintf(piece, sizeof piece, "%.*s", (int)n, name + at);
        n += !n;
        const int full = used + strlen(piece) + sizeof "..." > TEXT_NAME_QUOTED;
        strcpy(quoted + used, full ? "..." : piece);
        if (full)
            return;
        used += strlen(piece);
    }
}

static int refuse(const char *name, const char *pointer, struct err *err, const char *fault)
{
    char quoted[TEXT_NAME_QUOTED] = "";
    quote(name, quoted);
    return err_field(err, pointer, "\"%s\" is no name of a text: it %s", quoted, fault);
}

int text_name_check(const char *name, const char *pointer, struct err *err)
{
    char fault[96];
    const size_t bytes = name ? strlen(name) : 0;
    if (!bytes || bytes > SPEC_CORPUS_MAX)
        return err_field(err, pointer, "has %zu bytes; the name of a text has 1 to %d", bytes,
                         SPEC_CORPUS_MAX);
    if (name[0] == '.')
        return refuse(name, pointer, err, "starts with '.'");
    if (name[0] == ' ' || name[bytes - 1] == ' ')
        return refuse(name, pointer, err, "starts or ends with a blank");
    if (utf8_valid(name, bytes) < bytes)
        return refuse(name, pointer, err, "is not UTF-8");
    for (size_t at = 0, n; at < bytes; at += n) {
        const uint32_t c = character(name + at, &n);
        if (!refusal(c))
            continue;
        snprintf(fault, sizeof fault, "contains U+%04X, %s", (unsigned)c, refusal(c));
        return refuse(name, pointer, err, fault);
    }
    return 0;
}

int text_name_same(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        const unsigned char x = (unsigned char)*a, y = (unsigned char)*b;
        if (x != y && (x >= 0x80 || y >= 0x80 || tolower(x) != tolower(y)))
            return 0;
    }
    return *a == *b;
}

int text_name_resembles(const char *name, const char *known)
{
    int letters = 0;
    if (text_name_same(name, known))
        return 1;
    while (*name && *known) {
        size_t n, n_known;
        const uint32_t c = character(name, &n), k = character(known, &n_known);
        const int ascii = c < 0x80;
        letters += ascii && isalpha((int)c);
        if (k >= 0x80 ? c != k : ascii && tolower((int)c) != tolower((int)k))
            return 0;
        name += n;
        known += n_known;
    }
    return !*name && !*known && letters;
}
