/* neighbours: who else has an account on this machine. serve.c says it when a server without
 * authentication starts: to each of them everybody's jobs are their own. Main thread. */
#ifndef TOKENFATE_NEIGHBOURS_H
#define TOKENFATE_NEIGHBOURS_H

#include <stdint.h>

enum { NEIGHBOURS_NAME_MAX = 64 };

/* People's accounts (peer_is_person) but root's and `own`, with a shell that lets them log in, in a
 * file like /etc/passwd. first: the name of one of them, "" if there is none. A file that cannot be
 * read has none. */
int neighbours_count(const char *passwd, int64_t own, char first[NEIGHBOURS_NAME_MAX]);

#endif
