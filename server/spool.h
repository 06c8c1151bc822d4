/* spool: an answer that may be large, written with stdio to an unlinked file in
 * the data folder and sent from there: its size never lies in memory, and a slow
 * client holds disk pages instead. Pool threads. */
#ifndef TOKENFATE_SPOOL_H
#define TOKENFATE_SPOOL_H

#include <stdio.h>

#include "server/http.h"

/* Open for writing; NULL with ERR_IO. */
FILE *spool_open(struct request *request, struct err *err);

/* Send what was written. */
enum request_result spool_reply(struct request *request, FILE *spool, const char *type);

#endif
