/* link: addresses in answers, as relative references (RFC 3986, section 4.2). A client resolves
 * one against the address that it asked. So a reverse proxy may strip a prefix of the path, and
 * the server need not know the prefix. Pure. */
#ifndef TOKENFATE_LINK_H
#define TOKENFATE_LINK_H

#include "server/http/request.h"

/* What leads from the request's address to /api/v1/: "" from /api/v1/jobs, "../" from
 * /api/v1/jobs/ID. Put it in front of an address below /api/v1/. A constant. */
const char *link_root(const struct request *request);

#endif
