/* version: GET /version and /openapi.json: build and API version of the server, and the
 * description of its API. The route table calls api_version on the HTTP thread and
 * api_openapi, which opens a file, on a pool thread. No state. */
#include "server/api/version.h"

#include <fcntl.h>
#include <stdio.h>

#include "config/emit.h"
#include "server/data.h"
#include "server/http/file_reply.h"

enum request_result api_version(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    struct emit *json = &buffer.json;
    emit_object(json, NULL);
    emit_text(json, "name", "tokenfate");
    emit_text(json, "version", request->server->build);
    emit_text(json, "api", "v1");
    emit_text(json, "libmicrohttpd", MHD_get_version());
    emit_end(json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

enum request_result api_openapi(struct request *request)
{
    char path[DATA_PATH_MAX];
    snprintf(path, sizeof path, "%s/openapi.json", request->server->settings.share);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return file_reply(request, MEDIA_JSON, fd, "openapi.json");
    err_set_errno(&request->err, ERR_IO, "cannot read %s", path);
    return request_fail(request, &request->err);
}
