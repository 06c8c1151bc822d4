/* arrays: see arrays.h. Pointers of different types are copied byte by byte: an lvalue of type
 * void * must not alias them (C17, 6.5 paragraph 7). */
#include "gpu/arrays.h"

#include <stdlib.h>
#include <string.h>

int arrays_allocate(void *owner, const struct arrays_field *fields, size_t n, const size_t *extents)
{
    for (size_t i = 0; i < n; i++) {
        void *array = calloc(extents[fields[i].extent] + 1, fields[i].size);
        if (!array)
            return -1;
        memcpy((char *)owner + fields[i].at, &array, sizeof array);
    }
    return 0;
}

void arrays_free(void *owner, const struct arrays_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *array;
        memcpy(&array, (char *)owner + fields[i].at, sizeof array);
        free(array);
    }
}
