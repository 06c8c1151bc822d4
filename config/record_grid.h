/* record_grid: which epochs of a run have a record: epoch 0, every `every`-th one
 * (train.record_every), and the last one. Trainer, database and server ask here, so that they
 * agree. Pure functions; any thread. */
#ifndef TOKENFATE_RECORD_GRID_H
#define TOKENFATE_RECORD_GRID_H

#include <stdint.h>

struct record_grid {
    int64_t every, epochs; /* >= 1; the last epoch */
};

/* 1 if the epoch has a record. */
int record_grid_has(struct record_grid grid, int64_t epoch);
/* The first record from this epoch (>= 0) on; epochs + 1 behind the last one. */
int64_t record_grid_from(struct record_grid grid, int64_t epoch);
/* The last record up to this epoch; -1 for -1. */
int64_t record_grid_to(struct record_grid grid, int64_t epoch);
/* Number of records up to this epoch, itself included; 0 for -1. */
int64_t record_grid_count(struct record_grid grid, int64_t epoch);
/* Epoch of the n-th record (n >= 0) after that of this epoch, which has one; the last epoch if there
 * are fewer. */
int64_t record_grid_ahead(struct record_grid grid, int64_t epoch, int64_t n);

#endif
