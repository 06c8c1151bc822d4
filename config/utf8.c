/* utf8: see utf8.h. */
#include "config/utf8.h"

#include <stdint.h>
#include <string.h>

/* Lead bytes with the length of their sequence and the range of its second byte.
 * All further bytes are 80..BF. */
static const struct lead {
    unsigned char from, to, length, second_from, second_to;
} leads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static size_t utf8_check(const struct lead *lead, const unsigned char *p, size_t n)
{
    if (n < lead->length || p[1] < lead->second_from || p[1] > lead->second_to)
        return 0;
    for (size_t k = 2; k < lead->length; k++)
        if (p[k] < 0x80 || p[k] > 0xbf)
            return 0;
    return lead->length;
}

size_t utf8_length(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (p[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (p[0] >= leads[i].from && p[0] <= leads[i].to)
            return utf8_check(&leads[i], p, n);
    return 0;
}

size_t utf8_valid(const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint64_t eight;
        if (n - at >= sizeof eight) {
            memcpy(&eight, bytes + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) { /* eight ASCII characters at once */
                at += sizeof eight;
                continue;
            }
        }
        const size_t length = utf8_length(bytes + at, n - at);
        if (length == 0)
            return at;
        at += length;
    }
    return n;
}
