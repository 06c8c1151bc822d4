/* link: see link.h. */
#include "server/api/link.h"

enum { LINK_FIRST = 3 }; /* segments of an address directly below the root: api, v1, jobs */

const char *link_root(const struct request *request)
{
    static const char up[] = "../../../../../../../../../../../../";
    _Static_assert(sizeof up - 1 >= 3 * REQUEST_SEGMENTS_MAX, "one step up for each segment");
    const int steps = request->n_segments > LINK_FIRST ? request->n_segments - LINK_FIRST : 0;
    return up + sizeof up - 1 - 3 * steps;
}
