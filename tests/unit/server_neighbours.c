/* Which accounts of a machine are other people's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/http/neighbours.h"
#include "server/http/peer.h"

static int count(const char *lines, int64_t own, const char *expected)
{
    char path[] = "/tmp/tokenfate-neighbours-XXXXXX", first[NEIGHBOURS_NAME_MAX];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
    const int n = neighbours_count(path, own, first);
    unlink(path);
    assert_string_equal(first, expected);
    return n;
}

static void test_count(void **state)
{
    static const char system[] = "root:x:0:0::/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\n"
                                 "nobody:x:65534:65534::/:/bin/sh\nrun:x:61184:61184::/:/bin/sh\n";
    static const char lab[] =
        "root:x:0:0::/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/bash\n"
        "ftp:x:1001:1001::/:/usr/sbin/nologin\nweb:x:1002:1002::/:/bin/false\n"
        "ben:x:1003:1003::/home/ben:\ncarl:x:70000:70000::/:/bin/zsh\n";
    (void)state;
    assert_int_equal(count(system, 0, ""), 0);
    assert_int_equal(count(lab, 0, "ada"), 3);
    assert_int_equal(count(lab, 1000, "ben"), 2);
    assert_int_equal(count("", 0, ""), 0);
}

static void test_missing(void **state)
{
    char first[NEIGHBOURS_NAME_MAX];
    (void)state;
    assert_int_equal(neighbours_count("/nowhere/passwd", 0, first), 0);
}

static void test_person(void **state)
{
    static const struct {
        int64_t uid;
        int is_person;
    } cases[] = {{PEER_NONE, 0}, {0, 1},     {1, 0},     {999, 0},   {1000, 1},
                 {61183, 1},     {61184, 0}, {65534, 0}, {65535, 0}, {65536, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(peer_is_person(cases[i].uid), cases[i].is_person);
    assert_int_equal(peer_uid(-1), PEER_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_person),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
