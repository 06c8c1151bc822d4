/* media: the headers that say how to read the body of a request: Content-Type with its
 * charset, Content-Encoding, Content-Range. The server decodes nothing, so it refuses every
 * such header that it would have to obey: a body that is read against its headers is another
 * body. http.c calls media_check once per request, on the HTTP thread, before the body. */
#ifndef TOKENFATE_MEDIA_H
#define TOKENFATE_MEDIA_H

#include "config/err.h"
#include "server/http/request.h"

/* How a Content-Type fits a media type. The only parameter taken is charset=utf-8: others
 * (charset=utf-16, format=flowed, boundary=...) change the reading of the body. */
enum media_fit { MEDIA_OTHER_TYPE, MEDIA_OTHER_PARAMETER, MEDIA_FITS };

/* header: the value of a Content-Type (RFC 9110, 8.3); type: like "text/plain". Pure. */
enum media_fit media_compare(const char *header, const char *type);

/* ERR_MALFORMED for a Content-Range (RFC 9110, 14.5). ERR_MEDIA_TYPE for a Content-Encoding
 * other than identity, for more than one Content-Type, and for a type that the route of the
 * request does not read: a JSON body is application/json; an upload is
 * application/octet-stream, text/plain or has no type. */
int media_check(struct request *request, struct err *err);

#endif
