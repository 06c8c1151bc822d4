/* file_reply: a file as an answer, which its client may ask for again: only if it has changed
 * (If-None-Match), or the part that is still missing (Range, If-Range). So a download that broke
 * off goes on (curl -C -). Handlers call file_reply on the thread that owns the request. */
#ifndef TOKENFATE_FILE_REPLY_H
#define TOKENFATE_FILE_REPLY_H

#include "server/http/request.h"

/* What Range asks of `size` bytes (RFC 9110, 14.1.2). FILE_WHOLE also for what is no single
 * range of bytes, which a server may ignore. */
enum file_part { FILE_WHOLE, FILE_PART, FILE_BEYOND };
enum file_part file_reply_part(const char *range, uint64_t size, uint64_t *first, uint64_t *last);

/* Answer with an open file, which the answer takes over: 200, 206, 304 or 416. The tag is made of
 * inode, size and time of change: a strong one, because the files that are served are replaced
 * or appended to, and never changed in place. ERR_IO, ERR_CORRUPT for what is no regular file;
 * `what` names it then. */
enum request_result file_reply(struct request *request, const char *type, int fd, const char *what);

#endif
