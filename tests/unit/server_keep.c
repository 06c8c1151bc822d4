/* What of the jobs is to go: by age, by bytes, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/queue/keep.h"

enum { DAY = 100 }; /* any unit of time */

static struct keep_job job(int64_t seq, int64_t finished_at, int64_t state, int64_t models,
                           int64_t rest)
{
    return (struct keep_job){
        .seq = seq, .finished_at = finished_at, .bytes = {state, models, rest}};
}

static void check(const struct keep_rules *rules, int64_t now, int64_t stored,
                  const struct keep_job *jobs, int n, const char *wanted)
{
    struct keep_job copy[8];
    struct retention_item items[8 * RETENTION_PARTS];
    char text[1024] = "";
    memcpy(copy, jobs, (size_t)n * sizeof *jobs);
    const int found = keep_plan(rules, now, stored, copy, n, items);
    for (int i = 0; i < found; i++)
        sprintf(text + strlen(text), "%lld %s %lld at %lld\n", (long long)items[i].seq,
                retention_part_name(items[i].part), (long long)items[i].bytes,
                (long long)items[i].due);
    assert_string_equal(text, wanted);
}

static void test_off(void **state)
{
    (void)state;
    const struct keep_rules off = {.notice = 7 * DAY};
    const struct keep_job jobs[] = {job(1, 0, 10, 20, 30)};
    check(&off, 1000000 * DAY, INT64_MAX, jobs, 1, "");
}

static void test_age(void **state)
{
    (void)state;
    const struct keep_rules rules = {.age = {10 * DAY, 30 * DAY, 100 * DAY}, .notice = 7 * DAY};
    const struct keep_job jobs[] = {job(1, 5, 10, 20, 30), job(2, 5 * DAY, 0, 20, 30)};
    check(&rules, 3 * DAY, 110, jobs, 2, "");
    check(&rules, 3 * DAY + 5, 110, jobs, 2, "1 state 10 at 1005\n");
    check(&rules, 29 * DAY, 110, jobs, 2,
          "1 state 10 at 1005\n1 models 20 at 3005\n2 models 20 at 3500\n");
    check(&rules, 94 * DAY, 110, jobs, 2,
          "1 state 10 at 1005\n1 models 20 at 3005\n1 job 30 at 10005\n2 models 20 at 3500\n");
    const struct keep_rules jobs_alone = {.age = {0, 0, 10 * DAY}};
    check(&jobs_alone, 11 * DAY, 110, jobs, 2, "1 job 60 at 1005\n");
}

static void test_bytes(void **state)
{
    (void)state;
    struct keep_rules rules = {.notice = 7 * DAY, .bytes = 100};
    /* 50 more are stored by jobs that lose nothing. */
    const struct keep_job jobs[] = {job(1, 30, 10, 20, 30), job(2, 10, 5, 0, 30),
                                    job(3, 20, 0, 40, 30)};
    const int64_t stored = 50 + 60 + 35 + 70;
    rules.bytes = 215;
    check(&rules, 50, stored, jobs, 3, "");
    rules.bytes = 214;
    check(&rules, 50, stored, jobs, 3, "2 state 5 at 50\n");
    rules.bytes = 165;
    check(&rules, 50, stored, jobs, 3, "2 state 5 at 50\n1 state 10 at 50\n3 models 40 at 50\n");
    rules.bytes = 120;
    check(&rules, 50, stored, jobs, 3,
          "2 state 5 at 50\n1 state 10 at 50\n3 models 40 at 50\n1 models 20 at 50\n"
          "2 job 30 at 50\n");
    rules.bytes = 1;
    check(&rules, 50, stored, jobs, 3,
          "2 state 5 at 50\n1 state 10 at 50\n3 models 40 at 50\n1 models 20 at 50\n"
          "2 job 30 at 50\n3 job 30 at 50\n1 job 30 at 50\n");
    /* What goes by age counts. */
    rules.age[RETENTION_JOB] = 1;
    rules.bytes = 150;
    rules.notice = 0;
    check(&rules, 12, stored, jobs, 3, "2 job 35 at 11\n1 state 10 at 12\n3 models 40 at 12\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_off), cmocka_unit_test(test_age),
                                       cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
