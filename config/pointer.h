/* pointer: JSON pointers (RFC 6901), as errors name fields by them. Pure functions, any thread. */
#ifndef TOKENFATE_POINTER_H
#define TOKENFATE_POINTER_H

#include <stddef.h>

#include "config/err.h"

/* base, '/' and key with its escapes; cut between characters if too long. */
void pointer_member(char pointer[ERR_POINTER_MAX], const char *base, const char *key);

/* base, '/' and the index of an element. */
void pointer_index(char pointer[ERR_POINTER_MAX], const char *base, size_t index);

#endif
