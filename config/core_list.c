/* core_list: see core_list.h. */
#include "config/core_list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int core_list_print(const cpu_set_t *set, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int first = 0, last; first < CPU_SETSIZE; first = last + 1) {
        last = first;
        if (!CPU_ISSET(first, set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        const char *comma = used ? "," : "";
        used += (size_t)(first == last
                             ? snprintf(text + used, size - used, "%s%d", comma, first)
                             : snprintf(text + used, size - used, "%s%d-%d", comma, first, last));
        if (used >= size)
            return -1;
    }
    return 0;
}

/* A number at *text, which moves behind it; -1: there is none below CPU_SETSIZE. */
static long core_list_number(const char **text)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return -1;
    const long number = strtol(*text, &end, 10);
    *text = end;
    return number < CPU_SETSIZE ? number : -1;
}

int core_list_parse(const char *text, cpu_set_t *out)
{
    CPU_ZERO(out);
    for (;;) {
        const long first = core_list_number(&text);
        long last = first;
        if (*text == '-') {
            text++;
            last = core_list_number(&text);
        }
        if (first < 0 || last < first)
            return -1;
        for (long core = first; core <= last; core++)
            CPU_SET((int)core, out);
        if (!*text)
            return 0;
        if (*text++ != ',')
            return -1;
    }
}
