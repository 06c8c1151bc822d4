/* board: see board.h. */
#include "server/queue/board.h"

#include <stdlib.h>
#include <string.h>

void board_open(struct board *board)
{
    *board = (struct board){0};
    pthread_mutex_init(&board->mutex, NULL);
}

void board_close(struct board *board)
{
    free(board->view.lanes);
    free(board->view.users);
    pthread_mutex_destroy(&board->mutex);
}

void board_put(struct board *board, struct board_view *view)
{
    pthread_mutex_lock(&board->mutex);
    view->pass = board->view.pass + 1;
    free(board->view.lanes);
    free(board->view.users);
    board->view = *view;
    pthread_mutex_unlock(&board->mutex);
}

int board_get(struct board *board, struct board_view *out, struct err *err)
{
    pthread_mutex_lock(&board->mutex);
    *out = board->view;
    out->lanes = NULL;
    out->n_lanes = 0;
    out->users = calloc((size_t)out->n_users + 1, sizeof *out->users);
    if (out->users && out->n_users)
        memcpy(out->users, board->view.users, (size_t)out->n_users * sizeof *out->users);
    pthread_mutex_unlock(&board->mutex);
    return out->users ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for the view of the queue");
}

int64_t board_pass(struct board *board)
{
    pthread_mutex_lock(&board->mutex);
    const int64_t pass = board->view.pass;
    pthread_mutex_unlock(&board->mutex);
    return pass;
}

/* The lane of a sweep with a limit is for its jobs alone. */
static const struct board_lane *board_lane(const struct board_view *view, const struct job *job)
{
    const struct board_lane *found = NULL;
    for (int i = 0; i < view->n_lanes; i++) {
        const struct board_lane *lane = &view->lanes[i];
        const int is_own = job->sweep && strcmp(lane->name.sweep, job->sweep) == 0;
        if (strcmp(lane->name.user, job->user) == 0 &&
            strcmp(lane->name.device, job->device) == 0 && (is_own || !lane->name.sweep[0]) &&
            (is_own || !found))
            found = lane;
    }
    return found;
}

static int board_handed_over(const struct board_view *view, const char *job)
{
    for (int i = 0; i < view->n_slots; i++)
        if (strcmp(view->jobs.job[i], job) == 0)
            return 1;
    return 0;
}

/* A job that a device could take once it is free: the turns decide. */
static void board_turn(const struct board_view *view, const struct job *job,
                       const struct placement_look *look, struct reason *out)
{
    const struct board_lane *lane = board_lane(view, job);
    if (!lane || !lane->head[0])
        return;
    if (job->waits_code == REASON_SLICED)
        reason_set(out, REASON_SLICED, "%s", reason_sentence(REASON_SLICED));
    else if (strcmp(lane->head, job->id) != 0)
        reason_set(out, REASON_ORDER, "%s", reason_sentence(REASON_ORDER));
    else if (lane->turn > 1)
        reason_set(out, REASON_SHARE, "%s; %s", look->waits, reason_sentence(REASON_SHARE));
    else if (look->full == look->devices) /* else it is about to start */
        reason_set(out, look->code, "%s", look->waits);
}

/* Of a job in the queue. The caller holds the mutex. */
static void board_look(const struct board_view *view, const struct job *job, struct reason *out)
{
    struct placement_look look;
    char why[REASON_MAX];
    int is_its_own;
    const struct board_lane *lane = board_lane(view, job);
    if (!view->n_devices || board_handed_over(view, job->id))
        return;
    placement_look(job, view->devices, view->n_devices, &look);
    if (lane && !limits_may_run(&lane->limits, lane->running, job->memory_bytes, why, sizeof why,
                                &is_its_own))
        reason_set(out, REASON_LIMIT_USER, "%s", why);
    else if (lane && lane->is_full)
        reason_set(out, REASON_LIMIT_SWEEP, "max_running: %lld of its sweep run at once",
                   (long long)lane->name.max_running);
    else if (!look.devices)
        reason_set(out, look.code, "%s", look.waits);
    else if (view->closed.code)
        *out = view->closed;
    else
        board_turn(view, job, &look, out);
}

void board_reason(struct board *board, const struct job *job, struct reason *out)
{
    *out = (struct reason){0};
    if (job->state != JOB_QUEUED && job->state != JOB_HELD)
        return;
    if (job->waits_code && job->waits && job->waits_code != REASON_SLICED)
        reason_set(out, job->waits_code, "%s", job->waits);
    else if (job->state == JOB_QUEUED && job->unread)
        reason_set(out, REASON_READING, "%s", reason_sentence(REASON_READING));
    if (job->state != JOB_QUEUED || out->code)
        return;
    pthread_mutex_lock(&board->mutex);
    board_look(&board->view, job, out);
    pthread_mutex_unlock(&board->mutex);
}
