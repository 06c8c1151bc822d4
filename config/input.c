/* input: see input.h. */
#include "config/input.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config/pointer.h"

static const char byte_order_mark[] = "\xef\xbb\xbf";
static const double exact_below = 9007199254740992.0; /* 2^53 */

const char *input_skip_mark(const char *bytes, size_t *n)
{
    const size_t mark = sizeof byte_order_mark - 1;
    if (*n < mark || memcmp(bytes, byte_order_mark, mark) != 0)
        return bytes;
    *n -= mark;
    return bytes + mark;
}

int input_integer(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return 1;
    }
    const double number = json_is_real(value) ? json_real_value(value) : NAN;
    if (!(fabs(number) < exact_below) || number != floor(number))
        return 0;
    *out = (int64_t)number;
    return 1;
}

/* jansson's own message. Bytes that are not printable ASCII are replaced: it may have been
 * cut inside a UTF-8 sequence. */
static void input_malformed(const json_error_t *error, struct err *err)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    if (!error->text[0]) { /* jansson leaves the text empty when an allocation fails */
        err_set(err, ERR_NO_MEMORY, "no memory to parse JSON");
        return;
    }
    snprintf(text, sizeof text, "%s", error->text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    err_set(err, ERR_MALFORMED, "JSON, line %d, column %d: %s", error->line, error->column, text);
}

/* jansson bounds the depth of the recursion (JSON_PARSER_MAX_DEPTH, 2048). */
static int input_check_zeros(const json_t *value, const char *pointer, struct err *err)
{
    char inner[ERR_POINTER_MAX];
    const char *key;
    json_t *member;
    size_t i;
    int bad = 0;
    if (json_is_string(value) && strlen(json_string_value(value)) != json_string_length(value))
        bad = err_field(err, pointer, "holds the character U+0000, which no text here may have");
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        pointer_member(inner, pointer, key);
        bad |= input_check_zeros(member, inner, err);
    }
    json_array_foreach(value, i, member)
    {
        pointer_index(inner, pointer, i);
        bad |= input_check_zeros(member, inner, err);
    }
    return bad;
}

json_t *input_json(const char *bytes, size_t n, unsigned flags, struct err *err)
{
    json_error_t error;
    const char *text = input_skip_mark(bytes, &n);
    json_t *value =
        json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!value) {
        input_malformed(&error, err);
    } else if (!(flags & INPUT_ZEROS) && input_check_zeros(value, "", err)) {
        json_decref(value);
        return NULL;
    }
    return value;
}
