/* pointers: see pointers.h. */
#include "server/api/pointers.h"

#include <string.h>

/* Every other escape is copied with the character behind it, so the 2 of "~02" (which RFC 6901
 * reads as "~2") does not become a comma. */
static void undo_commas(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        const int is_escape = from[0] == '~' && from[1];
        if (is_escape && from[1] != '2')
            *to++ = *from;
        from += is_escape;
        *to++ = is_escape && *from == '2' ? ',' : *from;
    }
    *to = '\0';
}

int pointers_split(char *list, const char **pointer, int max, int *n, struct err *err)
{
    *n = 0;
    for (char *at = list, *one; (one = strsep(&at, ","));) {
        if (*n == max)
            return err_field(err, "series", "more than %d series", max);
        undo_commas(one);
        pointer[(*n)++] = one;
    }
    return 0;
}
