/* problem: errors as RFC 9457 application/problem+json, the only shape in which
 * this server refuses anything. Any thread. */
#ifndef TOKENFATE_PROBLEM_H
#define TOKENFATE_PROBLEM_H

#include <stddef.h>

#include "config/err.h"

#define PROBLEM_TYPE "application/problem+json"

/* The JSON text of err (malloc, caller frees; NULL without memory). code, title
 * and status come from err's table; every bad field is in `errors`. */
char *problem_print(const struct err *err, const char *request_id, size_t *n);

#endif
