/* Addresses of clients and networks of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/http/address.h"

static struct address parsed(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, strlen(text), &address), 0);
    return address;
}

static void test_parse_and_print(void **state)
{
    static const char *const same[] = {"192.0.2.7", "::1", "2001:db8::5", "::"};
    static const char *const bad[] = {"",      "1.2.3",    "1.2.3.4:80",  "localhost",
                                      "[::1]", "1.2.3.4 ", "fe80::1%eth0"};
    char text[INET6_ADDRSTRLEN];
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const struct address address = parsed(same[i]);
        address_print(&address, text);
        assert_string_equal(text, same[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address address;
        assert_int_equal(address_parse(bad[i], strlen(bad[i]), &address), -1);
    }
    const struct address mapped = parsed("::ffff:192.0.2.7"), plain = parsed("192.0.2.7");
    assert_memory_equal(&mapped, &plain, sizeof plain);
}

static void test_hosts(void **state)
{
    (void)state;
    const struct address a = address_host(parsed("2001:db8:1:2:3:4:5:6")),
                         b = address_host(parsed("2001:db8:1:2::1")),
                         c = address_host(parsed("2001:db8:1:3::1")),
                         d = address_host(parsed("192.0.2.7"));
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    const struct address whole = parsed("192.0.2.7");
    assert_memory_equal(&d, &whole, sizeof d);
}

static void test_lists(void **state)
{
    static const char list[] = "10.0.0.0/8, 192.0.2.128/25,2001:db8::/33 ::1,";
    static const char *const in[] = {"10.255.0.1", "192.0.2.128", "192.0.2.255", "2001:db8:7fff::1",
                                     "::1"};
    static const char *const out[] = {"11.0.0.1", "192.0.2.127", "2001:db8:8000::1",
                                      "::2",      "::",          "127.0.0.1"};
    static const char *const bad[] = {"10.0.0.0/33", "::1/129",       "10.0.0.0/", "10.0.0.0/+8",
                                      "proxy",       "10.0.0.0/1000", "/8"};
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(address_list_check("x", list, &err), 0);
    assert_int_equal(address_list_check("x", "", &err), 0);
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        const struct address address = parsed(in[i]);
        assert_int_equal(address_list_has(list, &address), 1);
    }
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        const struct address address = parsed(out[i]);
        assert_int_equal(address_list_has(list, &address), 0);
        assert_int_equal(address_list_has("0.0.0.0/0", &address), !strchr(out[i], ':'));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(address_list_check("trusted_proxies", bad[i], &err), -1);
        assert_non_null(strstr(err.message, "trusted_proxies"));
        assert_non_null(strstr(err.message, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
