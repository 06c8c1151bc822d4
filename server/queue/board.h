/* board: what the scheduler's last pass knew, from which a reader computes why a queued job waits.
 * So no reason is written when the queue changes, however many jobs wait. The scheduler's thread
 * writes a new board after each pass; any thread reads. The mutex guards all of it. */
#ifndef TOKENFATE_BOARD_H
#define TOKENFATE_BOARD_H

#include <pthread.h>

#include "config/reason.h"
#include "db/jobs.h"
#include "db/limits.h"
#include "server/queue/placement.h"
#include "server/queue/slot.h"

/* A lane, the job that is next in it, and the place of that job among those of its kind of device
 * in fair order. */
struct board_lane {
    struct job_lane name;
    char head[DB_ID_MAX]; /* "": none can be placed */
    int turn;             /* from 1 on; 0: nothing starts now */
    int is_full;          /* as many jobs of the sweep run as may */
    struct limits limits; /* of its user, of whom so many jobs run */
    int running;
};

/* A user that competes for a kind of device, as fair.h saw it. */
struct board_user {
    char user[DB_ACTOR_MAX], kind[DB_DEVICE_MAX];
    double share, virtual; /* scaled; charged until the pass */
    int64_t waits_since;   /* ms of the monotonic clock, 0: it does not wait */
};

struct board_view {
    int64_t pass, now; /* passes so far; ms of the monotonic clock */
    struct placement_device devices[TRAINER_DEVICES_MAX];
    struct slot_jobs jobs; /* those of n_slots slots */
    int n_devices, n_slots, n_lanes, n_users;
    struct board_lane *lanes;
    struct board_user *users;
    struct reason closed; /* why no job starts */
};

struct board {
    pthread_mutex_t mutex;
    struct board_view view;
};

void board_open(struct board *board);
void board_close(struct board *board);

/* The scheduler's thread. Takes over the arrays of the view (malloc), and numbers it. */
void board_put(struct board *board, struct board_view *view);
/* A copy of the view without its lanes; the caller frees `users`. ERR_NO_MEMORY. */
int board_get(struct board *board, struct board_view *out, struct err *err);
int64_t board_pass(struct board *board);

/* Why a job waits or is held: computed for a queued job, as stored for others. REASON_NONE: it does
 * not wait, it is about to start, or no pass has seen it yet. */
void board_reason(struct board *board, const struct job *job, struct reason *out);

#endif
