/* Lists of processor cores: written as Linux writes them, and read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/core_list.h"

static void test_round_trips(void **state)
{
    static const char *const lists[] = {"0", "7", "0-3", "0-1,3", "0,2,4", "5-1023"};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char text[CORE_LIST_MAX];
        cpu_set_t set;
        assert_int_equal(core_list_parse(lists[i], &set), 0);
        assert_int_equal(core_list_print(&set, text, sizeof text), 0);
        assert_string_equal(text, lists[i]);
    }
    cpu_set_t set;
    assert_int_equal(core_list_parse("2,0-1,2", &set), 0);
    assert_int_equal(CPU_COUNT(&set), 3);
}

static void test_bad_lists(void **state)
{
    static const char *const lists[] = {"",    ",",    "0,",  "0-",    "-1",
                                        "3-1", "1024", "0 1", "0-1-2", "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cpu_set_t set;
        if (core_list_parse(lists[i], &set) == 0)
            fail_msg("\"%s\" was taken", lists[i]);
    }
}

static void test_room(void **state)
{
    (void)state;
    char text[CORE_LIST_MAX];
    cpu_set_t set;
    assert_int_equal(core_list_parse("10,12", &set), 0);
    assert_int_equal(core_list_print(&set, text, 5), -1);
    assert_int_equal(core_list_print(&set, text, 6), 0);
    CPU_ZERO(&set);
    assert_int_equal(core_list_print(&set, text, sizeof text), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
