/* arrays: the arrays that a struct owns, as one table, so that what is allocated, checked and
 * freed cannot differ. Each entry names a pointer member and the extent of its array. Pure but
 * for the heap; any thread. */
#ifndef TOKENFATE_ARRAYS_H
#define TOKENFATE_ARRAYS_H

#include <stddef.h>

struct arrays_field {
    size_t at;   /* offset of the pointer in its struct */
    size_t size; /* bytes of an element */
    int extent;  /* index into the extents that arrays_allocate gets */
};

#define ARRAYS_FIELD(type, member, extent)                                                         \
    {                                                                                              \
        offsetof(type, member), sizeof *((type *)0)->member, extent                                \
    }

/* Point each member of `owner` to extents[extent] zeroed elements; an extent of 0 gives a valid
 * pointer too. The members are NULL before. -1 without memory: some members point to arrays,
 * the rest stay NULL, and arrays_free is due all the same. */
int arrays_allocate(void *owner, const struct arrays_field *fields, size_t n,
                    const size_t *extents);

/* Free every array; NULL is fine. */
void arrays_free(void *owner, const struct arrays_field *fields, size_t n);

#endif
