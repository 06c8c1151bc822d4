/* cmocka: the checks of tests/lib for a program that must start on a machine
 * without that library: as much of it as they use. A check that fails says where
 * and ends the program, which is one test. */
#ifndef TOKENFATE_BARE_CMOCKA_H
#define TOKENFATE_BARE_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fail_msg(...)                                                                              \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(EXIT_FAILURE);                                                                        \
    } while (0)
#define assert_true(x)                                                                             \
    do {                                                                                           \
        if (!(x))                                                                                  \
            fail_msg("not true: %s", #x);                                                          \
    } while (0)
#define assert_false(x) assert_true(!(x))
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_int_equal(x, y) assert_true((x) == (y))
#define assert_in_range(x, low, high) assert_true((x) >= (low) && (x) <= (high))
#define assert_memory_equal(x, y, size) assert_true(memcmp((x), (y), (size)) == 0)

#endif
