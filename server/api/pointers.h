/* pointers: the list that series= is. Pointers into a record (RFC 6901) separated
 * by commas; a comma inside one is written "~2". Pure; any thread. */
#ifndef TOKENFATE_POINTERS_H
#define TOKENFATE_POINTERS_H

#include "config/err.h"

/* Cuts list apart where it lies: pointer[0] to pointer[*n - 1], at most max, "~2"
 * undone. ERR_INVALID (series). */
int pointers_split(char *list, const char **pointer, int max, int *n, struct err *err);

#endif
