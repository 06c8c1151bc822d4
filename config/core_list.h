/* core_list: a set of processor cores as text, as Linux writes it: "0-3,7". The server tells a
 * trainer the cores of its job in this form. Pure functions, any thread. */
#ifndef TOKENFATE_CORE_LIST_H
#define TOKENFATE_CORE_LIST_H

#include <sched.h>
#include <stddef.h>

enum { CORE_LIST_MAX = 1024 }; /* bytes, with the zero: every second core of some five hundred */

/* Write the set. -1: it takes more than `size` bytes. */
int core_list_print(const cpu_set_t *set, char *text, size_t size);

/* Read a set. -1: the text is no list, empty, or names a core above CPU_SETSIZE. */
int core_list_parse(const char *text, cpu_set_t *out);

#endif
