/* word_list: see word_list.h. */
#include "server/http/word_list.h"

#include <stddef.h>
#include <string.h>

int word_list_has(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        const char *word = at + strspn(at, " ");
        size_t trimmed = (size_t)(at + n - word);
        while (trimmed && word[trimmed - 1] == ' ')
            trimmed--;
        if (length && trimmed == length && strncmp(word, name, length) == 0)
            return 1;
        at += n + (at[n] == ',');
    }
    return 0;
}
