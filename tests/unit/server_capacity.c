/* What a device has room for, on a virtual clock: ten thousand jobs are placed on cards beside
 * strangers that grow and shrink as they like, with readings of the free memory that are late. No
 * placement asks for more than the card had left when it was read last. Each seed is a card of its
 * own; one that fails replays alone: CAPACITY_SEED=17 build/tests/server_capacity */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "server/queue/capacity.h"

enum {
    SEEDS = 100,
    PLACEMENTS = 100, /* of each seed */
    TICK_MS = 50,
    READ_MS = 2000, /* as gpu/watch.c */
    LATE_MS = 1900
};

/* A process on a seat, and its job: what they really take, which is what is reserved for them at
 * most. */
struct place {
    int64_t process, job;         /* bytes in the end */
    int64_t process_has, job_has; /* bytes now */
    int64_t opens_at, opened_at;  /* ms; 0: not */
    int64_t started_at, ends_at;  /* ms; 0: not */
    int is_placed;
};

struct card {
    uint64_t random, seed;
    int64_t now, strangers, strangers_read, strangers_placed; /* at the last reading, placement */
    struct capacity capacity;
    struct place places[CAPACITY_SEATS_MAX];
    int64_t reading, reads_at, told_at; /* bytes; ms: of the next one; it is told then, 0: it was */
    int64_t reading_strangers;
    int placed, together, refused;
};

static const struct trainer_team no_team;

#define check(card, condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("CAPACITY_SEED=%llu at %lld ms: ", (unsigned long long)(card)->seed,       \
                        (long long)(card)->now);                                                   \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* splitmix64 */
static int64_t below(struct card *c, int64_t n)
{
    uint64_t z = (c->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ (z >> 31)) % (uint64_t)n);
}

static int64_t ours(const struct card *c, int in_the_end)
{
    int64_t bytes = 0;
    for (int i = 0; i < c->capacity.n_seats; i++) {
        const struct place *place = &c->places[i];
        bytes += in_the_end ? place->process + place->job : place->process_has + place->job_has;
    }
    return bytes;
}

static int64_t free_now(const struct card *c)
{
    return c->capacity.total - c->strangers - ours(c, 0);
}

static void watch(struct card *c)
{
    if (c->told_at && c->now >= c->told_at) {
        capacity_read(&c->capacity, c->reading, c->now);
        if (c->capacity.free == c->reading) /* not dropped */
            c->strangers_read = c->reading_strangers;
        c->told_at = 0;
    }
    if (c->now < c->reads_at)
        return;
    c->reading = free_now(c);
    c->reading_strangers = c->strangers;
    c->told_at = c->now + below(c, LATE_MS);
    c->reads_at = c->now + READ_MS;
}

/* Strangers take and give back, never more than there is. Every fourth card has steady ones. */
static void disturb(struct card *c)
{
    if (c->seed % 4 == 0 || below(c, 40))
        return;
    const int64_t all = c->capacity.total - ours(c, 0);
    const int64_t wanted = below(c, 3) ? c->strangers + below(c, c->capacity.total / 8)
                                       : below(c, c->capacity.total / 2);
    c->strangers = wanted < all ? wanted : all;
}

static void leave(struct card *c, int seat, int closes)
{
    struct place *place = &c->places[seat];
    if (place->is_placed)
        capacity_give_back(&c->capacity, seat);
    place->is_placed = 0;
    place->job = place->job_has = 0;
    place->started_at = place->ends_at = 0;
    if (!closes)
        return;
    capacity_close(&c->capacity, seat);
    *place = (struct place){0};
}

/* Some of `wanted` bytes more; 0: the card is full, because strangers have grown. */
static int allocate(struct card *c, int64_t *has, int64_t wanted)
{
    const int64_t more = wanted - *has < wanted / 4 + 1 ? wanted - *has : wanted / 4 + 1;
    if (free_now(c) < more) {
        check(c, c->seed % 4 && c->strangers > c->strangers_placed,
              "%lld bytes were refused beside strangers that had not grown", (long long)more);
        c->refused++;
        return 0;
    }
    *has += more;
    return 1;
}

static void live(struct card *c, int seat)
{
    struct place *place = &c->places[seat];
    int is_good = 1;
    if (place->opens_at && c->now >= place->opens_at && !place->opened_at) {
        is_good = allocate(c, &place->process_has, place->process);
        if (is_good && place->process_has == place->process) {
            place->opened_at = c->now;
            capacity_open(&c->capacity, seat, &no_team, free_now(c), c->now);
            c->strangers_read = c->strangers;
        }
    } else if (place->opened_at && place->is_placed && !place->started_at) {
        is_good = below(c, 3) ? 1 : allocate(c, &place->job_has, place->job);
        if (is_good && place->job_has == place->job) {
            place->started_at = c->capacity.seats[seat].loaded_at = c->now;
            place->ends_at = c->now + 100 + below(c, 30000);
        }
    } else if (place->ends_at && c->now >= place->ends_at) {
        leave(c, seat, below(c, 3) == 0);
    }
    if (!is_good)
        leave(c, seat, 1);
}

static void place_one(struct card *c)
{
    struct capacity *capacity = &c->capacity;
    const int64_t bytes = 1 + below(c, capacity->total * (below(c, 3) ? 30 : 90) / 100);
    struct trainer_team team;
    if (below(c, 10) || capacity_look(capacity, 0, bytes) != CAPACITY_FITS)
        return;
    const int seat = capacity_seat(capacity, 0, &team), is_open = capacity->seats[seat].is_open;
    struct place *place = &c->places[seat];
    check(c, !place->is_placed, "seat %d has a job", seat);
    capacity_take(capacity, seat, &team, bytes);
    if (!is_open) {
        place->process = capacity->opening - below(c, capacity->opening / 2);
        place->opens_at = c->now + below(c, 2000);
    }
    place->job = bytes + below(c, capacity->with_job);
    place->is_placed = 1;
    c->placed++;
    c->together += capacity_taken(capacity) > 1;
    const int64_t asked = ours(c, 1) + c->strangers_read;
    c->strangers_placed = c->strangers_read;
    check(c, asked <= capacity->total, "%lld bytes on a card of %lld", (long long)asked,
          (long long)capacity->total);
}

static void run_card(struct card *c, uint64_t seed)
{
    *c = (struct card){.seed = seed, .random = seed};
    c->capacity.n_seats = 1 + (int)below(c, 8);
    c->capacity.total = INT64_C(8000000000) << below(c, 5);
    c->capacity.opening = 768 << 20;
    c->capacity.with_job = 256 << 20;
    c->strangers = c->strangers_read = below(c, c->capacity.total / 2);
    c->capacity.free = free_now(c);
    while (c->placed < PLACEMENTS) {
        c->now += TICK_MS;
        check(c, c->now < 100000000, "%d jobs were placed, and no more are", c->placed);
        disturb(c);
        watch(c);
        for (int i = 0; i < c->capacity.n_seats; i++)
            live(c, i);
        check(c, free_now(c) >= 0, "the card is overfull by %lld bytes", (long long)-free_now(c));
        place_one(c);
    }
}

static void test_strangers(void **state)
{
    (void)state;
    static struct card c;
    const char *one = getenv("CAPACITY_SEED");
    const uint64_t first = one ? strtoull(one, NULL, 10) : 0;
    int placed = 0, together = 0, refused = 0;
    for (uint64_t seed = first; seed < first + (one ? 1 : SEEDS); seed++) {
        run_card(&c, seed);
        placed += c.placed;
        together += c.together;
        refused += c.refused;
    }
    print_message("%d placed, %d of them beside others, %d refused by the card later\n", placed,
                  together, refused);
    assert_true(one || together > placed / 4); /* whoever places nothing exceeds nothing */
    assert_true(one || refused > 0);           /* strangers do grow in between */
}

/* ---- single answers ---- */

enum { GB = 1000000000 };

static struct capacity card_of(int seats)
{
    return (struct capacity){.n_seats = seats,
                             .total = 10 * (int64_t)GB,
                             .free = 10 * (int64_t)GB,
                             .opening = GB,
                             .with_job = 0};
}

static void test_memory(void **state)
{
    (void)state;
    struct capacity c = card_of(2);
    assert_int_equal(capacity_look(&c, 0, 9 * (int64_t)GB), CAPACITY_FITS); /* to the last byte */
    assert_int_equal(capacity_look(&c, 0, 9 * (int64_t)GB + 1), CAPACITY_TOO_LARGE);
    capacity_take(&c, 0, &no_team, 5 * (int64_t)GB);
    assert_true(capacity_left(&c) == 4 * (int64_t)GB);
    assert_int_equal(capacity_look(&c, 0, 3 * (int64_t)GB), CAPACITY_FITS);
    assert_int_equal(capacity_look(&c, 0, 3 * (int64_t)GB + 1), CAPACITY_MEMORY);
    capacity_open(&c, 0, &no_team, 9 * (int64_t)GB, 1000);
    assert_true(capacity_left(&c) == 4 * (int64_t)GB);
    /* A reading that may be from before the process is dropped. */
    capacity_read(&c, 10 * (int64_t)GB, 2999);
    assert_true(capacity_left(&c) == 4 * (int64_t)GB);
    /* Loaded, but not surely in the reading: it counts twice. */
    c.seats[0].loaded_at = 4000;
    capacity_read(&c, 4 * (int64_t)GB, 8999);
    assert_true(capacity_left(&c) == -1 * (int64_t)GB);
    capacity_read(&c, 4 * (int64_t)GB, 9000);
    assert_true(capacity_left(&c) == 4 * (int64_t)GB && capacity_of_strangers(&c) == 0);
    capacity_read(&c, 1 * (int64_t)GB, 11000); /* strangers have taken 3 GB */
    assert_true(capacity_of_strangers(&c) == 3 * (int64_t)GB);
    assert_int_equal(capacity_look(&c, 0, 5 * (int64_t)GB), CAPACITY_MEMORY);
    assert_int_equal(capacity_look(&c, 0, 7 * (int64_t)GB), CAPACITY_STRANGERS);
    capacity_give_back(&c, 0);
    assert_int_equal(capacity_look(&c, 0, GB), CAPACITY_FITS); /* its process is there */
    capacity_close(&c, 0);
    capacity_read(&c, 7 * (int64_t)GB, 13000);
    assert_int_equal(capacity_look(&c, 0, 6 * (int64_t)GB), CAPACITY_FITS);
    assert_int_equal(capacity_look(&c, 0, 6 * (int64_t)GB + 1), CAPACITY_STRANGERS);
}

/* Unknown is not zero, and not plenty: one job at a time. */
static void test_unknown_memory(void **state)
{
    (void)state;
    struct capacity c = {.n_seats = 2};
    assert_int_equal(capacity_look(&c, 0, GB), CAPACITY_FITS);
    capacity_take(&c, 0, &no_team, GB);
    assert_int_equal(capacity_look(&c, 0, 1), CAPACITY_FULL);
}

static int look_team(const struct capacity *c, int threads, int *cores)
{
    struct trainer_team team;
    const int seat = capacity_seat(c, threads, &team);
    *cores = seat < 0 ? 0 : CPU_COUNT(&team.cores);
    return seat;
}

static void test_seats_and_cores(void **state)
{
    (void)state;
    struct capacity c = {.n_seats = 3, .cores = {.n = 4, .is_bound = 1}};
    struct trainer_team one, two;
    cpu_set_t both;
    int cores;
    c.total = c.free = GB;
    for (int i = 0; i < 4; i++)
        CPU_SET(2 * i + 1, &c.cores.all);
    assert_int_equal(look_team(&c, 5, &cores), -1);
    assert_int_equal(capacity_seat(&c, 2, &one), 0);
    capacity_take(&c, 0, &one, 1);
    assert_int_equal(capacity_seat(&c, 2, &two), 1);
    capacity_take(&c, 1, &two, 1);
    CPU_AND(&both, &one.cores, &two.cores);
    assert_int_equal(CPU_COUNT(&both), 0);
    assert_int_equal(CPU_COUNT(&two.cores), 2);
    assert_int_equal(capacity_cores_left(&c), 0);
    assert_int_equal(capacity_look(&c, 1, 1), CAPACITY_FULL);
    /* A process with as many threads on cores that are free is the best one to have. */
    capacity_open(&c, 1, &two, GB, 1);
    capacity_give_back(&c, 1);
    assert_int_equal(look_team(&c, 2, &cores), 1);
    assert_int_equal(cores, 2);
    assert_int_equal(look_team(&c, 1, &cores), 2);
    assert_int_equal(cores, 1);
    c.seats[2].is_barred = 1;
    assert_int_equal(look_team(&c, 1, &cores), 1); /* it will be replaced */
    c.is_closing = 1;
    assert_int_equal(capacity_look(&c, 1, 1), CAPACITY_FULL);
    /* A process that was started for something else does not change what a job was given. */
    c.is_closing = 0;
    capacity_take(&c, 1, &two, 1);
    capacity_open(&c, 1, &no_team, GB, 2);
    assert_int_equal(c.seats[1].team.threads, 2);
    assert_int_equal(capacity_cores_left(&c), 0);
    capacity_give_back(&c, 1);
    /* A pool that is a number binds nobody. */
    c.cores.is_bound = 0;
    assert_int_equal(look_team(&c, 1, &cores), 1);
    assert_int_equal(cores, 0);
}

static void test_parts(void **state)
{
    (void)state;
    struct capacity c = card_of(4);
    assert_true(capacity_part(&c, 0, 0) == 0.25);
    assert_true(capacity_part(&c, 0, 4 * (int64_t)GB) == 0.5);
    assert_true(capacity_part(&c, 0, 99 * (int64_t)GB) == 1);
    c.seats[3].is_barred = 1;
    assert_true(capacity_part(&c, 0, 0) * 3 == 1);
    c.seats[3].is_barred = 0;
    c.cores.n = 8;
    assert_true(capacity_part(&c, 1, 0) == 0.25 && capacity_part(&c, 6, 0) == 0.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),          cmocka_unit_test(test_unknown_memory),
        cmocka_unit_test(test_seats_and_cores), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
