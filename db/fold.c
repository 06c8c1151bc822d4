/* fold: see fold.h. */
#include "db/fold.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define FOLD_OPTIONS                                                                               \
    (UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD |                  \
     UTF8PROC_STRIPMARK | UTF8PROC_IGNORE)

/* Blanks in place: one between words, none at the ends. The folded forms of all blanks of
 * Unicode but the line separators are U+0020. */
static size_t fold_blanks(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        const int is_blank = strchr(" \t\n\v\f\r", *from) != NULL;
        if (!is_blank)
            *to++ = *from;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    to -= to > text && to[-1] == ' ';
    *to = '\0';
    return (size_t)(to - text);
}

static void fold_call(sqlite3_context *context, int n, sqlite3_value **values)
{
    (void)n;
    utf8proc_uint8_t *folded = NULL;
    const unsigned char *text = sqlite3_value_text(values[0]);
    if (!text)
        return; /* NULL */
    const utf8proc_ssize_t result =
        utf8proc_map(text, sqlite3_value_bytes(values[0]), &folded, FOLD_OPTIONS);
    if (result >= 0)
        sqlite3_result_text64(context, (char *)folded, fold_blanks((char *)folded), free,
                              SQLITE_UTF8);
    else if (result == UTF8PROC_ERROR_NOMEM)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_error(context, utf8proc_errmsg(result), -1);
}

int fold_register(sqlite3 *handle)
{
    return sqlite3_create_function_v2(handle, "fold", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                      fold_call, NULL, NULL, NULL);
}
