/* pointers: parser of the query parameter series=, a list of pointers into a record (RFC 6901)
 * separated by commas. A comma inside a pointer is written "~2", an escape that RFC 6901
 * leaves free. Called by curves.c and series.c. Pure; any thread. */
#ifndef TOKENFATE_POINTERS_H
#define TOKENFATE_POINTERS_H

#include "config/err.h"

/* Split list in place: pointer[0] to pointer[*n - 1] point into it, "~2" replaced by a comma.
 * ERR_INVALID ("series") for more than max. */
int pointers_split(char *list, const char **pointer, int max, int *n, struct err *err);

#endif
