/* The epochs with records, against a list that is made by trying each epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/record_grid.h"

enum { EPOCHS_MAX = 40 };

static void check(struct record_grid grid)
{
    int64_t all[EPOCHS_MAX + 1];
    int64_t n = 0;
    for (int64_t epoch = 0; epoch <= grid.epochs; epoch++) {
        const int has = epoch % grid.every == 0 || epoch == grid.epochs;
        assert_int_equal(record_grid_has(grid, epoch), has);
        if (has)
            all[n++] = epoch;
    }
    assert_false(record_grid_has(grid, -1) || record_grid_has(grid, grid.epochs + 1));
    int64_t before = 0; /* records before the epoch */
    for (int64_t epoch = 0; epoch <= grid.epochs; epoch++) {
        const int has = all[before] == epoch;
        assert_int_equal(record_grid_from(grid, epoch), all[before]);
        assert_int_equal(record_grid_to(grid, epoch), has ? epoch : all[before - 1]);
        assert_int_equal(record_grid_count(grid, epoch), before + has);
        for (int64_t i = 0; has && i < n - before + 2; i++)
            assert_int_equal(record_grid_ahead(grid, epoch, i),
                             all[before + i < n ? before + i : n - 1]);
        before += has;
    }
    assert_int_equal(record_grid_from(grid, grid.epochs + 1), grid.epochs + 1);
    assert_int_equal(record_grid_to(grid, grid.epochs + 5), grid.epochs);
    assert_int_equal(record_grid_to(grid, -1), -1);
    assert_int_equal(record_grid_count(grid, -1), 0);
}

static void test_all_small_grids(void **state)
{
    (void)state;
    for (int64_t epochs = 1; epochs <= EPOCHS_MAX; epochs++)
        for (int64_t every = 1; every <= epochs + 2; every++)
            check((struct record_grid){every, epochs});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_small_grids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
