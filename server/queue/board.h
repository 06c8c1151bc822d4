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

struct board {
    pthread_mutex_t mutex;
    struct placement_device devices[TRAINER_DEVICES_MAX];
    struct slot_jobs jobs; /* those of n_slots slots */
    int n_devices, n_slots, n_lanes;
    struct board_lane *lanes;
    struct reason closed; /* why no job starts */
};

void board_open(struct board *board);
void board_close(struct board *board);

/* The scheduler's thread. Takes over `lanes` (malloc). */
void board_put(struct board *board, const struct placement_device *devices, int n_devices,
               const struct slot_jobs *jobs, int n_slots, struct board_lane *lanes, int n_lanes,
               const struct reason *closed);

/* Why a job waits or is held: computed for a queued job, as stored for others. REASON_NONE: it does
 * not wait, it is about to start, or no pass has seen it yet. */
void board_reason(struct board *board, const struct job *job, struct reason *out);

#endif
