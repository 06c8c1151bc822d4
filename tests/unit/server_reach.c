/* Where notifications may go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "server/notify/reach.h"

static int is_allowed(const char *text, const char *allowed)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return reach_is_allowed((const struct sockaddr *)(const void *)&v4, allowed);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return reach_is_allowed((const struct sockaddr *)(const void *)&v6, allowed);
}

static void test_addresses(void **state)
{
    static const char *const private[] = {"127.0.0.1",
                                          "0.0.0.0",
                                          "10.1.2.3",
                                          "172.31.255.255",
                                          "192.168.0.1",
                                          "169.254.169.254",
                                          "100.64.0.1",
                                          "224.0.0.1",
                                          "255.255.255.255",
                                          "::1",
                                          "::",
                                          "::7f00:1",
                                          "fe80::1",
                                          "fd00::1",
                                          "ff02::1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::7f00:1",
                                          "2002:7f00:1::",
                                          "2001::1"};
    static const char *const public[] = {"1.1.1.1",        "172.32.0.1",      "9.255.255.255",
                                         "100.63.255.255", "2606:4700::1111", "::ffff:1.1.1.1",
                                         "2a00::1"};
    (void)state;
    for (size_t i = 0; i < sizeof private / sizeof *private; i++)
        if (is_allowed(private[i], ""))
            fail_msg("%s is allowed", private[i]);
    for (size_t i = 0; i < sizeof public / sizeof *public; i++)
        if (!is_allowed(public[i], ""))
            fail_msg("%s is refused", public[i]);
    assert_true(is_allowed("10.1.2.3", "10.1.0.0/16"));
    assert_true(is_allowed("::ffff:10.1.2.3", "10.1.0.0/16"));
    assert_false(is_allowed("10.2.2.3", "10.1.0.0/16, ::1"));
    assert_true(is_allowed("::1", "10.1.0.0/16, ::1"));
    const struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(reach_is_allowed(&local, "0.0.0.0/0"));
}

static void test_urls(void **state)
{
    static const char *const good[] = {"http://a/", "https://user:word@a.example:8443/b?c#d",
                                       "HTTP://[::1]:80", "http://a"};
    static const char *const bad[] = {"",        "a.example/b", "ftp://a/",   "file:///etc/passwd",
                                      "http://", "http://a b/", "gopher://a/"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(reach_check_url(good[i], "/url", &err), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = ERR_INIT;
        if (!reach_check_url(bad[i], "/url", &err))
            fail_msg("%s is taken", bad[i]);
        assert_string_equal(err.fields[0].pointer, "/url");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_urls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
