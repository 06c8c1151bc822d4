/* Folders of the server in sentences for clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/redact.h"

static void folders(void **state)
{
    (void)state;
    static struct settings settings = {
        .data = "/srv/data/", .share = "/usr/share/tokenfate", .corpus_path = "corpora:/texts"};
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"cannot read /srv/data/corpora/a: No such file", "cannot read corpora/a: No such file"},
        {"/srv/data//jobs/x is short", "jobs/x is short"},
        {"a path below /srv/data has 9 bytes", "a path below . has 9 bytes"},
        {"\"/texts/pg829.txt\", /usr/share/tokenfate/web", "\"pg829.txt\", web"},
        {"no text in corpora:/texts", "no text in corpora:."},
        {"/srv/database/x and /x/srv/data/y stay", "/srv/database/x and /x/srv/data/y stay"},
        {"/srv/data", "."},
        {"corpora/x stays, and so does a/texts/b", "corpora/x stays, and so does a/texts/b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = ERR_INIT;
        err_field(&err, "/x", "%s", cases[i].text);
        snprintf(err.message, sizeof err.message, "%s", cases[i].text);
        const int changes = strcmp(cases[i].text, cases[i].expected) != 0;
        assert_int_equal(redact_err(&settings, &err), changes);
        assert_string_equal(err.message, cases[i].expected);
        assert_string_equal(err.fields[0].detail, cases[i].expected);
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"https://hooks.slack.com/services/T0/B0/secret", "https://hooks.slack.com/\xe2\x80\xa6"},
        {"http://user:word@a.example:8080/", "http://a.example:8080/"},
        {"http://a@b@c.example", "http://c.example/"},
        {"https://a.example?token=x@y", "https://a.example/\xe2\x80\xa6"},
        {"https://a.example#x", "https://a.example/\xe2\x80\xa6"},
        {"http://[::1]:80/x", "http://[::1]:80/\xe2\x80\xa6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char shown[64], cut[12];
        redact_url(cases[i].url, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
        redact_url(cases[i].url, cut, sizeof cut);
        assert_memory_equal(cut, shown, sizeof cut - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
