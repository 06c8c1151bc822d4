/* progress: the line on stderr that shows how far a job is: redrawn on a terminal, elsewhere a few
 * lines in all. `tokenfate run` and `tokenfate watch` use it on the main thread. */
#ifndef TOKENFATE_PROGRESS_H
#define TOKENFATE_PROGRESS_H

#include <stdint.h>

enum { PROGRESS_GROUPS = 3 }; /* that the line has room for */

struct progress {
    int is_terminal;
    int64_t shown_ms, shown_epoch; /* -1 before the first line */
};

struct progress_news {
    int64_t epoch, epochs;
    double loss, seconds_left, tokens_per_second; /* NAN: not known */
    int n_groups;
    const char *name[PROGRESS_GROUPS];
    double logp[PROGRESS_GROUPS]; /* mean log p */
};

struct progress progress_begin(void);
/* Show the line if it is due, and always at the last epoch. */
void progress_show(struct progress *progress, const struct progress_news *news);
/* Leave the line where it stands; what follows begins below it. */
void progress_end(struct progress *progress);
/* Clear the line before other output on stderr. */
void progress_clear(struct progress *progress);

#endif
