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

/* What a character that no text's name has is to a label. */
enum in_label { REFUSED, BLANK, UNSEEN, SEEN };

/* Characters that no text's name has, ascending (Unicode 15: UnicodeData, PropList,
 * DerivedCoreProperties). Noncharacters at the end of a plane are found by arithmetic. */
static const struct refused {
    uint32_t from, to;
    enum in_label in_label;
    const char *why;
} refused[] = {
    {0x0001, 0x001F, REFUSED, "a control character"},
    {'/', '/', SEEN, "a separator of paths"},
    {0x007F, 0x009F, REFUSED, "a control character"},
    {0x00A0, 0x00A0, BLANK, "a blank other than U+0020"},
    {0x00AD, 0x00AD, UNSEEN, "an invisible character"},
    {0x0300, 0x036F, UNSEEN, "a combining mark; use the composed letter"},
    {0x061C, 0x061C, REFUSED, "a bidi control"},
    {0x1100, 0x115E, SEEN, "a part of a syllable; use the composed one"},
    {0x115F, 0x1160, UNSEEN, "an invisible character"},
    {0x1161, 0x11FF, SEEN, "a part of a syllable; use the composed one"},
    {0x1680, 0x1680, BLANK, "a blank other than U+0020"},
    {0x17B4, 0x17B5, UNSEEN, "an invisible character"},
    {0x180B, 0x180F, UNSEEN, "an invisible character"},
    {0x1AB0, 0x1AFF, UNSEEN, "a combining mark"},
    {0x1DC0, 0x1DFF, UNSEEN, "a combining mark"},
    {0x2000, 0x200A, BLANK, "a blank other than U+0020"},
    {0x200B, 0x200D, UNSEEN, "an invisible character"},
    {0x200E, 0x200F, REFUSED, "a bidi control"},
    {0x2028, 0x2029, REFUSED, "an end of line"},
    {0x202A, 0x202E, REFUSED, "a bidi control"},
    {0x202F, 0x202F, BLANK, "a blank other than U+0020"},
    {0x205F, 0x205F, BLANK, "a blank other than U+0020"},
    {0x2060, 0x2065, UNSEEN, "an invisible character"},
    {0x2066, 0x2069, REFUSED, "a bidi control"},
    {0x206A, 0x206F, UNSEEN, "an invisible character"},
    {0x20D0, 0x20FF, UNSEEN, "a combining mark"},
    {0x2460, 0x24FF, SEEN, "another form of a letter or digit"},
    {0x2800, 0x2800, UNSEEN, "an invisible character"},
    {0x3000, 0x3000, BLANK, "a blank other than U+0020"},
    {0x3164, 0x3164, UNSEEN, "an invisible character"},
    {0xFDD0, 0xFDEF, REFUSED, "no character"},
    {0xFE00, 0xFE0F, UNSEEN, "an invisible character"},
    {0xFE20, 0xFE2F, UNSEEN, "a combining mark"},
    {0xFEFF, 0xFEFF, UNSEEN, "an invisible character"},
    {0xFF01, 0xFF5E, SEEN, "another form of an ASCII character"},
    {0xFFA0, 0xFFA0, UNSEEN, "an invisible character"},
    {0xFFF0, 0xFFFB, UNSEEN, "an invisible character"},
    {0x1BCA0, 0x1BCA3, UNSEEN, "an invisible character"},
    {0x1D173, 0x1D17A, UNSEEN, "an invisible character"},
    {0x1D400, 0x1D7FF, SEEN, "another form of a letter or digit"},
    {0xE0000, 0xE0FFF, UNSEEN, "an invisible character"},
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

/* NULL: the name of a text may have this character. */
static const struct refused *refusal(uint32_t c)
{
    static const struct refused last_of_plane = {0, 0, REFUSED, "no character"};
    if ((c & 0xFFFE) == 0xFFFE)
        return &last_of_plane;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (c >= refused[i].from && c <= refused[i].to)
            return &refused[i];
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

/* what: "name of a text" or "name". */
static int refuse(const char *name, const char *what, const char *pointer, struct err *err,
                  const char *fault)
{
    char quoted[TEXT_NAME_QUOTED] = "";
    quote(name, quoted);
    return err_field(err, pointer, "\"%s\" is no %s: it %s", quoted, what, fault);
}

static int refuse_character(const char *name, const char *what, const char *pointer,
                            struct err *err, uint32_t c)
{
    char fault[96];
    snprintf(fault, sizeof fault, "contains U+%04X, %s", (unsigned)c, refusal(c)->why);
    return refuse(name, what, pointer, err, fault);
}

int text_name_check(const char *name, const char *pointer, struct err *err)
{
    static const char what[] = "name of a text";
    const size_t bytes = name ? strlen(name) : 0;
    if (!bytes || bytes > SPEC_CORPUS_MAX)
        return err_field(err, pointer, "has %zu bytes; the name of a text has 1 to %d", bytes,
                         SPEC_CORPUS_MAX);
    if (name[0] == '.')
        return refuse(name, what, pointer, err, "starts with '.'");
    if (name[0] == ' ' || name[bytes - 1] == ' ')
        return refuse(name, what, pointer, err, "starts or ends with a blank");
    if (utf8_valid(name, bytes) < bytes)
        return refuse(name, what, pointer, err, "is not UTF-8");
    for (size_t at = 0, n; at < bytes; at += n) {
        const uint32_t c = character(name + at, &n);
        if (refusal(c))
            return refuse_character(name, what, pointer, err, c);
    }
    return 0;
}

static enum in_label in_label(uint32_t c)
{
    const struct refused *row = refusal(c);
    return c == ' ' ? BLANK : row ? row->in_label : SEEN;
}

int text_name_check_label(const char *label, const char *pointer, struct err *err)
{
    static const char what[] = "name";
    const size_t bytes = strlen(label);
    int is_seen = 0;
    if (utf8_valid(label, bytes) < bytes)
        return refuse(label, what, pointer, err, "is not UTF-8");
    for (size_t at = 0, n; at < bytes; at += n) {
        const uint32_t c = character(label + at, &n);
        if (in_label(c) == REFUSED)
            return refuse_character(label, what, pointer, err, c);
        is_seen |= in_label(c) == SEEN;
    }
    return is_seen ? 0 : refuse(label, what, pointer, err, "has nothing that can be seen");
}

void text_name_trim(char *label)
{
    size_t first = 0, end = 0;
    for (size_t at = 0, n; label[at]; at += n) {
        const int is_blank = in_label(character(label + at, &n)) == BLANK;
        if (is_blank && !end)
            first = at + n;
        else if (!is_blank)
            end = at + n;
    }
    memmove(label, label + first, end ? end - first : 0);
    label[end ? end - first : 0] = '\0';
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
