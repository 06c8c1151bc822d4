/* step_times: what six shapes of jobs took on a processor, run after run. Recorded with one thread as
 * processor time, on a machine that other programs used too; the cost is that of lab/cost.h. */
#ifndef TOKENFATE_TESTS_STEP_TIMES_H
#define TOKENFATE_TESTS_STEP_TIMES_H

enum { STEP_SHAPES = 6, STEP_RUNS = 5 };

/* Seconds up to the first record, and of an epoch. */
struct step_run {
    double start, epoch;
};

struct step_shape {
    const char *name;
    double cost; /* billions of operations of an epoch */
    struct step_run runs[STEP_RUNS];
};

static const struct step_shape step_shapes[STEP_SHAPES] = {
    {"32 wide",
     3.021,
     {{0.143, 0.014101}, {0.15, 0.014529}, {0.149, 0.01458}, {0.151, 0.014601}, {0.146, 0.01451}}},
    {"64 wide",
     11.318,
     {{0.361, 0.048879},
      {0.297, 0.052407},
      {0.331, 0.050438},
      {0.339, 0.050648},
      {0.371, 0.049288}}},
    {"128 wide",
     24.726,
     {{0.665, 0.103769},
      {0.565, 0.109109},
      {0.873, 0.102355},
      {0.912, 0.099701},
      {0.729, 0.105067}}},
    {"256 wide",
     54.776,
     {{1.398, 0.261263},
      {1.518, 0.205341},
      {1.668, 0.190311},
      {1.502, 0.233658},
      {1.276, 0.242985}}},
    {"64 wide, ten updates a record",
     113.072,
     {{0.809, 0.499929},
      {0.736, 0.493817},
      {0.755, 0.499018},
      {0.741, 0.505917},
      {0.74, 0.488362}}},
    {"128 wide, batches of 16 x 128",
     86.992,
     {{1.309, 0.362304},
      {1.259, 0.371012},
      {1.385, 0.376921},
      {1.128, 0.385175},
      {1.369, 0.365869}}},
};

#endif
