/* record_grid: see record_grid.h. */
#include "config/record_grid.h"

int record_grid_has(struct record_grid grid, int64_t epoch)
{
    return epoch >= 0 && epoch <= grid.epochs && (epoch % grid.every == 0 || epoch == grid.epochs);
}

int64_t record_grid_from(struct record_grid grid, int64_t epoch)
{
    if (epoch > grid.epochs)
        return grid.epochs + 1;
    const int64_t behind = epoch % grid.every;
    const int64_t next = behind ? epoch + grid.every - behind : epoch;
    return next < grid.epochs ? next : grid.epochs;
}

int64_t record_grid_to(struct record_grid grid, int64_t epoch)
{
    if (epoch < 0)
        return -1;
    return epoch >= grid.epochs ? grid.epochs : epoch - epoch % grid.every;
}

int64_t record_grid_count(struct record_grid grid, int64_t epoch)
{
    if (epoch < 0)
        return 0;
    const int64_t last = record_grid_to(grid, epoch);
    return last / grid.every + 1 + (last % grid.every != 0);
}

int64_t record_grid_ahead(struct record_grid grid, int64_t epoch, int64_t n)
{
    const int64_t left = record_grid_count(grid, grid.epochs) - record_grid_count(grid, epoch);
    return n < left ? epoch + n * grid.every : grid.epochs;
}
