/* How refused credentials are counted: pauses that double, pairs of account and address that
 * do not touch each other, a table that stays in its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/http/logins.h"

static struct logins table;

static int unlogged;

static int refuse(const char *account, const char *address, int64_t ms)
{
    return logins_count(&table, account, address, 0, ms, &unlogged);
}

static int start(void **state)
{
    (void)state;
    table = (struct logins){.n = 0};
    return 0;
}

static void test_pauses(void **state)
{
    (void)state;
    int64_t now = 1000000;
    for (int i = 0; i < LOGINS_FREE; i++)
        assert_int_equal(refuse("", "1.2.3.4", now), 0);
    static const int pauses[] = {1, 2, 4, 8, 16, 32, 60, 60};
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_int_equal(refuse("", "1.2.3.4", now), pauses[i]);
        assert_int_equal(unlogged, -1);
        assert_int_equal(refuse("", "1.2.3.4", now + pauses[i] * 1000 - 1), 1);
        now += pauses[i] * 1000; /* what came in the pause has not made it longer */
        assert_int_equal(refuse("", "1.2.3.4", now), 0);
        assert_int_equal(unlogged, 2);
    }
    assert_int_equal(refuse("", "1.2.3.4", now + LOGINS_FORGET_SECONDS * 1000 + 1), 0);
    assert_int_equal(refuse("", "1.2.3.4", now + LOGINS_FORGET_SECONDS * 1000 + 1), 0);
}

static void test_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < LOGINS_FREE; i++)
        assert_int_equal(refuse("", "1.2.3.4", 1000000), 0);
    assert_int_equal(refuse("", "1.2.3.4", 1000000), 1);
    assert_int_equal(refuse("", "1.2.3.5", 1000000), 0);
    assert_int_equal(refuse("ada", "1.2.3.4", 1000000), 0);
    assert_int_equal(logins_count(&table, "", "1.2.3.4", 1, 1000000, &unlogged), 0);
    assert_int_equal(table.n, 4);
}

static void test_bounds(void **state)
{
    (void)state;
    char address[32];
    for (int i = 0; i < 3 * LOGINS_MAX; i++) {
        snprintf(address, sizeof address, "10.0.%d.%d", i / 256, i % 256);
        assert_int_equal(refuse("", address, 1000000 + i / 4), 0);
        if (i >= LOGINS_FREE) /* heard all the time, so never the one that goes */
            assert_int_equal(refuse("", "1.2.3.4", 1000000 + i / 4) > 0, i >= 2 * LOGINS_FREE);
    }
    assert_int_equal(table.n, LOGINS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pauses, start),
        cmocka_unit_test_setup(test_pairs, start),
        cmocka_unit_test_setup(test_bounds, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
