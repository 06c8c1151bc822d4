/* large_reply: an answer of unbounded size, written with stdio to a temporary file and sent
 * from that file. Handlers of slow routes call it on pool threads.
 *
 * A small answer lies in memory (memfd), so that results can be read while the disk is full.
 * A large one lies in an unlinked file of the data folder, so that a slow client occupies
 * disk and not memory. The kernel frees either one when its last descriptor is closed. */
#ifndef TOKENFATE_LARGE_REPLY_H
#define TOKENFATE_LARGE_REPLY_H

#include <stdio.h>

#include "server/http/request.h"

enum {
    LARGE_REPLY_MEMORY_MAX = 4 << 20, /* bytes; the records of some 1500 epochs */
    LARGE_REPLY_NUMBER_BYTES = 32     /* estimate for a number with its name */
};

/* Open a stream for an answer of about so many bytes: the estimate decides where it lies.
 * NULL with ERR_IO. */
FILE *large_reply_open(struct request *request, int64_t bytes, struct err *err);

/* Close the stream and answer with its content, or with a problem if a write failed. */
enum request_result large_reply_send(struct request *request, FILE *spool, const char *type);

#endif
