/* capacity: see capacity.h. */
#include "server/queue/capacity.h"

int capacity_taken(const struct capacity *capacity)
{
    int n = 0;
    for (int i = 0; i < capacity->n_seats; i++)
        n += capacity->seats[i].is_taken;
    return n;
}

int capacity_cores_left(const struct capacity *capacity)
{
    int left = capacity->cores.n;
    for (int i = 0; i < capacity->n_seats; i++)
        left -= capacity->seats[i].is_taken ? capacity->seats[i].team.threads : 0;
    return left;
}

/* Bytes of the seats that are seen, or that are not. */
static int64_t capacity_bytes(const struct capacity *capacity, int seen)
{
    int64_t bytes = 0;
    for (int i = 0; i < capacity->n_seats; i++) {
        const struct capacity_seat *seat = &capacity->seats[i];
        if ((seat->is_open || seat->is_taken) && seat->is_process_seen == seen)
            bytes += capacity->opening;
        if (seat->is_taken && seat->is_job_seen == seen)
            bytes += seat->bytes;
    }
    return bytes;
}

int64_t capacity_left(const struct capacity *capacity)
{
    return capacity->free - capacity_bytes(capacity, 0);
}

int64_t capacity_of_strangers(const struct capacity *capacity)
{
    const int64_t bytes = capacity->total - capacity->free - capacity_bytes(capacity, 1);
    return bytes > 0 ? bytes : 0;
}

/* Cores of the jobs. */
static void capacity_taken_cores(const struct capacity *capacity, cpu_set_t *out)
{
    CPU_ZERO(out);
    for (int i = 0; i < capacity->n_seats; i++)
        if (capacity->seats[i].is_taken)
            CPU_OR(out, out, &capacity->seats[i].team.cores);
}

/* 1 if the process of the seat can take a job with so many threads as it is. */
static int capacity_is_warm(const struct capacity_seat *seat, int threads, const cpu_set_t *taken)
{
    cpu_set_t both;
    CPU_AND(&both, &seat->team.cores, taken);
    return seat->is_open && seat->team.threads == threads && CPU_COUNT(&both) == 0;
}

int capacity_seat(const struct capacity *capacity, int threads, struct trainer_team *team)
{
    cpu_set_t taken;
    int best = -1, best_rank = -1;
    if (capacity->cores.n && capacity_cores_left(capacity) < threads)
        return -1;
    capacity_taken_cores(capacity, &taken);
    for (int i = 0; i < capacity->n_seats; i++) {
        const struct capacity_seat *seat = &capacity->seats[i];
        const int rank = capacity_is_warm(seat, threads, &taken) ? 2 : !seat->is_open;
        if (seat->is_taken || seat->is_barred || rank <= best_rank)
            continue;
        best = i;
        best_rank = rank;
    }
    if (best < 0)
        return -1;
    *team = (struct trainer_team){.threads = threads};
    if (best_rank == 2)
        *team = capacity->seats[best].team;
    else if (threads)
        cores_take(&capacity->cores, &taken, threads, &team->cores);
    return best;
}

enum capacity_fit capacity_look(const struct capacity *capacity, int threads, int64_t bytes)
{
    struct trainer_team team;
    const int64_t all = bytes + capacity->with_job + capacity->opening;
    if (capacity->total > 0 && all > capacity->total)
        return CAPACITY_TOO_LARGE;
    const int seat = capacity->is_closing ? -1 : capacity_seat(capacity, threads, &team);
    if (seat < 0 || (capacity->total <= 0 && capacity_taken(capacity)))
        return CAPACITY_FULL;
    const int64_t needs =
        bytes + capacity->with_job + (capacity->seats[seat].is_open ? 0 : capacity->opening);
    if (capacity->total <= 0 || needs <= capacity_left(capacity))
        return CAPACITY_FITS;
    return capacity_taken(capacity) && all + capacity_of_strangers(capacity) <= capacity->total
               ? CAPACITY_MEMORY
               : CAPACITY_STRANGERS;
}

int64_t capacity_largest(const struct capacity *capacity)
{
    const int64_t bytes = capacity->total - capacity->with_job - capacity->opening;
    return bytes > 0 ? bytes : 0;
}

double capacity_part(const struct capacity *capacity, int threads, int64_t bytes)
{
    const int64_t all = bytes + capacity->with_job + capacity->opening;
    int seats = 0;
    for (int i = 0; i < capacity->n_seats; i++)
        seats += !capacity->seats[i].is_barred;
    double part = seats ? 1.0 / seats : 1;
    if (capacity->cores.n && (double)threads / capacity->cores.n > part)
        part = (double)threads / capacity->cores.n;
    if (capacity->total > 0 && (double)all / (double)capacity->total > part)
        part = (double)all / (double)capacity->total;
    return part < 1 ? part : 1;
}

void capacity_take(struct capacity *capacity, int seat, const struct trainer_team *team,
                   int64_t bytes)
{
    struct capacity_seat *taken = &capacity->seats[seat];
    taken->is_taken = 1;
    taken->team = *team;
    taken->bytes = bytes + capacity->with_job;
}

void capacity_give_back(struct capacity *capacity, int seat)
{
    struct capacity_seat *given = &capacity->seats[seat];
    given->is_taken = given->is_job_seen = 0;
    given->bytes = given->loaded_at = 0;
}

/* A reading that was told now. */
static void capacity_see(struct capacity *capacity, int64_t free, int64_t now)
{
    capacity->free = free;
    for (int i = 0; i < capacity->n_seats; i++) {
        struct capacity_seat *seat = &capacity->seats[i];
        seat->is_process_seen |= seat->opened_at && now >= seat->opened_at + CAPACITY_SETTLE_MS;
        seat->is_job_seen |= seat->loaded_at && now >= seat->loaded_at + CAPACITY_SETTLE_MS;
    }
}

void capacity_open(struct capacity *capacity, int seat, const struct trainer_team *team,
                   int64_t free, int64_t now)
{
    struct capacity_seat *opened = &capacity->seats[seat];
    opened->is_open = opened->is_process_seen = 1;
    opened->is_barred = 0;
    if (!opened->is_taken)
        opened->team = *team;
    opened->opened_at = capacity->told_at = now;
    capacity_see(capacity, free, now);
}

void capacity_close(struct capacity *capacity, int seat)
{
    struct capacity_seat *closed = &capacity->seats[seat];
    closed->is_open = closed->is_process_seen = 0;
    closed->opened_at = 0;
}

void capacity_read(struct capacity *capacity, int64_t free, int64_t now)
{
    if (!capacity->told_at || now >= capacity->told_at + CAPACITY_LATE_MS)
        capacity_see(capacity, free, now);
}
