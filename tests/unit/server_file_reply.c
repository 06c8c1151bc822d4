/* What a Range header asks of a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/http/file_reply.h"

static void test_ranges(void **state)
{
    static const struct {
        const char *range;
        uint64_t size;
        enum file_part part;
        uint64_t first, last;
    } cases[] = {
        {"bytes=0-", 10, FILE_PART, 0, 9},
        {"bytes=3-5", 10, FILE_PART, 3, 5},
        {"Bytes=9-9", 10, FILE_PART, 9, 9},
        {"bytes=4-99999999999999", 10, FILE_PART, 4, 9},
        {"bytes=-4", 10, FILE_PART, 6, 9},
        {"bytes=-40", 10, FILE_PART, 0, 9},
        {"bytes=10-", 10, FILE_BEYOND, 0, 0},
        {"bytes=0-", 0, FILE_BEYOND, 0, 0},
        {"bytes=-0", 10, FILE_BEYOND, 0, 0},
        {"bytes=5-3", 10, FILE_WHOLE, 0, 0},
        {"bytes=0-1,4-5", 10, FILE_WHOLE, 0, 0},
        {"bytes=", 10, FILE_WHOLE, 0, 0},
        {"bytes=-", 10, FILE_WHOLE, 0, 0},
        {"bytes=1", 10, FILE_WHOLE, 0, 0},
        {"bytes= 1-2", 10, FILE_WHOLE, 0, 0},
        {"bytes=+1-2", 10, FILE_WHOLE, 0, 0},
        {"lines=1-2", 10, FILE_WHOLE, 0, 0},
        {"bytes=99999999999999999999-", 10, FILE_WHOLE, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t first = 0, last = 0;
        const enum file_part part = file_reply_part(cases[i].range, cases[i].size, &first, &last);
        if (part != cases[i].part || first != cases[i].first || last != cases[i].last)
            fail_msg("%s of %d: %d, %d to %d", cases[i].range, (int)cases[i].size, (int)part,
                     (int)first, (int)last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
