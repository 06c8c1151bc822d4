/* problem: errors as RFC 9457 application/problem+json. Every refusal of the server has
 * this format.
 *
 * server/http calls problem_print for the answer of a failed request, on the thread that
 * owns the request. No state; any thread. */
#ifndef TOKENFATE_PROBLEM_H
#define TOKENFATE_PROBLEM_H

#include <stddef.h>

#include "config/err.h"

#define PROBLEM_TYPE "application/problem+json"

/* The JSON text of err, *n bytes (malloc, the caller frees; NULL without memory). Code,
 * title and status come from err_table (config/err.c); `errors` lists every bad field. */
char *problem_print(const struct err *err, const char *request_id, size_t *n);

#endif
