/* checkpoint: the state of a training run on disk, bit-exact: parameters, moments, exposure counts,
 * and the run's origin (experiment, precision, instruction set, threads, build). Called by train,
 * on its thread.
 *
 * A new checkpoint is written to DIR/checkpoint.new and synced; then DIR/checkpoint is renamed to
 * DIR/checkpoint.previous and the new one to DIR/checkpoint. So at every instant at least one
 * complete checkpoint is on disk. Format, little-endian:
 *
 *   "TFCKPT1\n", struct checkpoint in the order of checkpoint.c's field table,
 *   n_parts x n_parameters float32, vocab int64 exposures, checksum
 *
 * The checksum chains SHA-256 over blocks of 4 MiB, so a file of any size is written and verified
 * in constant memory. */
#ifndef TOKENFATE_CHECKPOINT_H
#define TOKENFATE_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/hash.h"
#include "config/spec.h"
#include "lab/dataset.h"

enum { CHECKPOINT_WORD = 64 }; /* longest precision, instruction set or build, with its zero */

struct checkpoint {
    char identity[HASH_HEX]; /* checkpoint_identity of the experiment */
    char device[CHECKPOINT_WORD], precision[CHECKPOINT_WORD], isa[CHECKPOINT_WORD];
    char build[CHECKPOINT_WORD];
    int64_t threads;
    int64_t epoch; /* first record to come; all records before it have been reported */
    int64_t step;  /* optimiser updates done */
    int64_t n_parts, n_parameters, vocab;
};

/* Access to the parts of the state, part < n_parts. */
struct checkpoint_parts {
    void *self;
    int (*get)(void *self, int part, float *host, struct err *err);
    int (*put)(void *self, int part, const float *host, struct err *err);
    float *buffer;      /* [n_parameters], owned by the caller, for one part at a time */
    int64_t *exposures; /* [vocab] */
};

/* Hash of everything that determines the numbers of a run: the spec without its name, notes, tags,
 * snapshots and resources, and the token stream. ERR_NO_MEMORY. */
int checkpoint_identity(const struct spec *spec, const struct dataset *dataset, char hex[HASH_HEX],
                        struct err *err);

/* Write a checkpoint into dir. On failure the older ones stay. ERR_IO (disk full, ...),
 * ERR_NO_MEMORY, ERR_TOO_LARGE (the path), or the error of `get`. */
int checkpoint_save(const char *dir, const struct checkpoint *checkpoint,
                    const struct checkpoint_parts *parts, struct err *err);

/* Load the newest intact checkpoint of dir with checkpoint->epoch <= max_epoch. expect: origin of
 * this run; its epoch and step are ignored. *out: the checkpoint; *found: 0 if none is usable, and
 * then nothing was put. A damaged file is skipped in favour of the previous one; `note`
 * (ERR_MESSAGE_MAX bytes) then says so, else it is "". ERR_CORRUPT when no file is intact;
 * ERR_CONFLICT when it belongs to another experiment; ERR_UNAVAILABLE when it was made on another
 * device, precision, instruction set, number of threads or build, naming both. */
int checkpoint_load(const char *dir, const struct checkpoint *expect, int64_t max_epoch,
                    const struct checkpoint_parts *parts, struct checkpoint *out, int *found,
                    char *note, struct err *err);

/* Remove every checkpoint file of dir; missing ones are fine. ERR_IO. */
int checkpoint_remove(const char *dir, struct err *err);

#endif
