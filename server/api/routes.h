/* routes: the one table of what this server answers. Constant; any thread. */
#ifndef TOKENFATE_ROUTES_H
#define TOKENFATE_ROUTES_H

#include "server/http/route.h"

extern const struct route_table api_routes;

#endif
