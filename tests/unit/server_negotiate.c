/* Accept headers: weight, exactness, order, and what takes neither type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/http/negotiate.h"

static void csv_or_json(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int csv;
    } cases[] = {
        {NULL, 0},
        {"", 0},
        {"*/*", 0},
        {"text/csv", 1},
        {"TEXT/CSV", 1},
        {"text/*", 1},
        {"text/html", 0},
        {"text/csvx", 0},
        {"text/csv; charset=utf-8", 1},
        {"text/csv;q=0", 0},
        {"text/csv;q=0, */*", 0},
        {"text/csv ; q=0.000", 0},
        {"application/json, text/csv", 0},
        {"text/csv, application/json", 1},
        {" text/csv ,application/json", 1},
        {"application/json;q=0.5, text/csv", 1},
        {"text/csv;q=0.5, application/json", 0},
        {"text/csv;q=0.5,application/json;Q=0.4", 1},
        {"application/json;q=0, text/csv;q=0.1", 1},
        {"*/*, text/csv", 1},
        {"*/*;q=0.1, text/csv;q=0.1, application/json;q=0.1", 1},
        {"text/*;q=0.9, text/csv;q=0.1, application/json;q=0.5", 0},
        {"text/html, application/xhtml+xml, */*;q=0.8", 0},
        {",,text/csv", 1},
        {";q=1", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (negotiate_prefers(cases[i].header, "text/csv", "application/json") != cases[i].csv)
            fail_msg("\"%s\" is not %d", cases[i].header, cases[i].csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(csv_or_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
