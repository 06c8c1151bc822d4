/* large_reply: see large_reply.h. */
#include "server/http/large_reply.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

FILE *large_reply_open(struct request *request, int64_t bytes, struct err *err)
{
    int fd = bytes <= LARGE_REPLY_MEMORY_MAX
                 ? memfd_create("large_reply", MFD_CLOEXEC)
                 : open(request->server->settings.data, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    FILE *spool = fd < 0 ? NULL : fdopen(fd, "w+");
    if (!spool) {
        err_set_errno(err, ERR_IO, "cannot make a temporary file for the answer");
        if (fd >= 0)
            close(fd);
    }
    return spool;
}

enum request_result large_reply_send(struct request *request, FILE *spool, const char *type)
{
    int fd = -1;
    off_t size = -1;
    if (fflush(spool) == 0 && !ferror(spool) && (size = ftello(spool)) >= 0)
        fd = fcntl(fileno(spool), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        err_set_errno(&request->err, ERR_IO, "cannot write the answer's temporary file");
    fclose(spool);
    return fd < 0 ? request_fail(request, &request->err)
                  : request_reply_fd(request, 200, type, fd, (uint64_t)size);
}
