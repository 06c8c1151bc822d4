/* Lists of pointers: cut at commas, but for those that are written "~2". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/pointers.h"

enum { MAX = 3 };

static void commas_inside(void **state)
{
    (void)state;
    static const struct {
        const char *list, *pointer[MAX];
    } cases[] = {
        {"/loss", {"/loss"}},
        {"/loss,/log_z", {"/loss", "/log_z"}},
        {"/groups/a~2b/sd,/loss", {"/groups/a,b/sd", "/loss"}},
        {"/groups/~2~2/sd", {"/groups/,,/sd"}},
        {"/groups/a~02b~1~0/sd", {"/groups/a~02b~1~0/sd"}},
        {"/groups/a~", {"/groups/a~"}},
        {",", {"", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char list[64];
        const char *pointer[MAX];
        int n = -1, expected = 0;
        strcpy(list, cases[i].list);
        assert_int_equal(pointers_split(list, pointer, MAX, &n, NULL), 0);
        while (expected < MAX && cases[i].pointer[expected])
            expected++;
        assert_int_equal(n, expected);
        for (int p = 0; p < n; p++)
            assert_string_equal(pointer[p], cases[i].pointer[p]);
    }
}

static void too_many(void **state)
{
    (void)state;
    char list[] = "/a,/b,/c,/d";
    const char *pointer[MAX];
    struct err err = ERR_INIT;
    int n;
    assert_int_equal(pointers_split(list, pointer, MAX, &n, &err), -1);
    assert_string_equal(err.fields[0].pointer, "series");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(commas_inside), cmocka_unit_test(too_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
