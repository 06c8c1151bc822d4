/* version: GET /version and /openapi.json: which program answers, and what it answers. */
#include "server/api/version.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/data.h"
#include "server/json.h"

enum request_result api_version(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"name\":\"tokenfate\",\"version\":", buffer.out);
    json_write_string(buffer.out, request->server->build);
    fputs(",\"api\":\"v1\",\"libmicrohttpd\":", buffer.out);
    json_write_string(buffer.out, MHD_get_version());
    fputs("}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_openapi(struct request *request)
{
    char path[DATA_PATH_MAX];
    struct stat info;
    snprintf(path, sizeof path, "%s/openapi.json", request->server->settings.share);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !fstat(fd, &info))
        return request_reply_fd(request, 200, MEDIA_JSON, fd, (uint64_t)info.st_size);
    err_set_errno(&request->err, ERR_IO, "cannot read %s", path);
    if (fd >= 0)
        close(fd);
    return request_fail(request, &request->err);
}
