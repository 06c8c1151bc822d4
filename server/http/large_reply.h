/* large_reply: an answer that may be large, written with stdio and sent from there. A
 * small one lies in memory, so that results can be read while the disk is full; a
 * large one in an unlinked file of the data folder, so that a slow client holds
 * disk pages instead. Pool threads. */
#ifndef TOKENFATE_LARGE_REPLY_H
#define TOKENFATE_LARGE_REPLY_H

#include <stdio.h>

#include "server/http/request.h"

enum {
    LARGE_REPLY_MEMORY_MAX = 4 << 20, /* bytes; the records of some 1500 epochs */
    LARGE_REPLY_NUMBER_BYTES = 32     /* about what a number takes, with its name */
};

/* Open for writing an answer of about so many bytes; NULL with ERR_IO. */
FILE *large_reply_open(struct request *request, int64_t bytes, struct err *err);

/* Send what was written. */
enum request_result large_reply_send(struct request *request, FILE *spool, const char *type);

#endif
