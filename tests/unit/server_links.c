/* One-time codes: used once, over after LINKS_SECONDS, one a user, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "server/api/links.h"

enum { END = LINKS_SECONDS * 1000 };

static void add(struct links *links, const char *hash, const char *user, int64_t now)
{
    struct link_owner owner = {.token = "0123456789abcdef"};
    snprintf(owner.user, sizeof owner.user, "%s", user);
    links_add(links, hash, &owner, now);
}

static int take(struct links *links, const char *hash, int64_t now, const char *user)
{
    struct link_owner owner;
    if (links_take(links, hash, now, &owner))
        return -1;
    assert_string_equal(owner.user, user);
    assert_string_equal(owner.token, "0123456789abcdef");
    return 0;
}

/* As long as a hash is. */
static const char *hash_of(char out[HASH_HEX], int n)
{
    snprintf(out, HASH_HEX, "%064d", n);
    return out;
}

static void test_once(void **state)
{
    static struct links links;
    char one[HASH_HEX], two[HASH_HEX];
    (void)state;
    add(&links, hash_of(one, 1), "ada", 5);
    add(&links, hash_of(two, 2), "ben", 5);
    assert_int_equal(take(&links, two, 6, "ben"), 0);
    assert_int_equal(take(&links, two, 6, "ben"), -1);
    assert_int_equal(take(&links, one, 6, "ada"), 0);
    assert_int_equal(take(&links, hash_of(one, 3), 6, ""), -1);
}

static void test_over(void **state)
{
    static struct links links;
    char one[HASH_HEX], two[HASH_HEX];
    (void)state;
    add(&links, hash_of(one, 1), "ada", 100);
    add(&links, hash_of(two, 2), "ben", 100);
    assert_int_equal(take(&links, one, 100 + END - 1, "ada"), 0);
    assert_int_equal(take(&links, two, 100 + END, "ben"), -1);
    assert_int_equal(take(&links, two, 100, "ben"), -1); /* it does not come back */
}

static void test_one_each(void **state)
{
    static struct links links;
    char one[HASH_HEX], two[HASH_HEX];
    (void)state;
    add(&links, hash_of(one, 1), "ada", 5);
    add(&links, hash_of(two, 2), "ada", 6);
    assert_int_equal(take(&links, one, 7, "ada"), -1);
    assert_int_equal(take(&links, two, 7, "ada"), 0);
}

static void test_full(void **state)
{
    static struct links links;
    char hash[HASH_HEX], user[16];
    (void)state;
    for (int i = 0; i <= LINKS_MAX; i++) {
        snprintf(user, sizeof user, "user%d", i);
        add(&links, hash_of(hash, i + 1), user, 10 + i);
    }
    assert_int_equal(take(&links, hash_of(hash, 1), 300, "user0"), -1); /* the oldest made room */
    assert_int_equal(take(&links, hash_of(hash, 2), 300, "user1"), 0);
    snprintf(user, sizeof user, "user%d", LINKS_MAX);
    assert_int_equal(take(&links, hash_of(hash, LINKS_MAX + 1), 300, user), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_one_each),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
