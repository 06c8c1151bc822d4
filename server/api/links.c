/* links: see links.h. */
#include "server/api/links.h"

#include <string.h>

/* The user's place, else a free one, else the one that ends first: a free one has ended at 0. */
static int links_place(const struct links *links, const char *user)
{
    int place = 0;
    for (int i = 0; i < LINKS_MAX; i++) {
        if (strcmp(links->link[i].owner.user, user) == 0)
            return i;
        if (links->link[i].end_ms < links->link[place].end_ms)
            place = i;
    }
    return place;
}

void links_add(struct links *links, const char *hash, const struct link_owner *owner,
               int64_t now_ms)
{
    const int place = links_place(links, owner->user);
    strcpy(links->link[place].hash, hash);
    links->link[place].owner = *owner;
    links->link[place].end_ms = now_ms + LINKS_SECONDS * 1000;
}

int links_take(struct links *links, const char *hash, int64_t now_ms, struct link_owner *owner)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (!links->link[i].hash[0] || !hash_equal(links->link[i].hash, hash))
            continue;
        const int is_over = now_ms >= links->link[i].end_ms;
        *owner = links->link[i].owner;
        memset(&links->link[i], 0, sizeof links->link[i]);
        return is_over ? -1 : 0;
    }
    return -1;
}
