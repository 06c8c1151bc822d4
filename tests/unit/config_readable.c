/* config_readable: decimals, exponent form of numbers that no column holds, signs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "config/readable.h"

static void numbers(void **state)
{
    (void)state;
    const struct {
        double value;
        int decimals;
        const char *plain, *with_sign;
    } cases[] = {
        {-10.8479, 3, "-10.848", "-10.848"},
        {0, 2, "0.00", "+0.00"},
        {36, 0, "36", "+36"},
        {999999.5, 1, "999999.5", "+999999.5"},
        {1e6, 3, "1.000e+06", "+1.000e+06"},
        {-1.23456e20, 3, "-1.235e+20", "-1.235e+20"},
        {1.7976931348623157e308, 9, "1.797693135e+308", "+1.797693135e+308"},
        {INFINITY, 2, "inf", "+inf"},
        {-INFINITY, 2, "-inf", "-inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(readable(cases[i].value, cases[i].decimals).text, cases[i].plain);
        assert_string_equal(readable_signed(cases[i].value, cases[i].decimals).text,
                            cases[i].with_sign);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
