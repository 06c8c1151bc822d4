/* checkpoint: the state of a training run on disk, bit-exact: parameters,
 * moments, exposure counts, and what the run is (experiment, precision,
 * instruction set, threads, build). Called by train, on its thread.
 *
 * A new checkpoint is written to DIR/checkpoint.new, synced, and renamed to
 * DIR/checkpoint; the one before stays as DIR/checkpoint.previous. At every
 * instant at least one complete checkpoint is on disk. Format, little-endian:
 *
 *   "TFCKPT1\n", struct checkpoint as written by checkpoint.c's field table,
 *   n_parts x n_parameters float32, vocab int64 exposures, checksum
 *
 * The checksum chains SHA-256 over blocks of 4 MiB, so that a file of any size
 * is written and checked with constant memory. */
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
    int64_t epoch; /* first record to come: all before it have been reported */
    int64_t step;  /* updates done */
    int64_t n_parts, n_parameters, vocab;
};

/* Where the numbers of a part come from and go to. part < n_parts. */
struct checkpoint_parts {
    void *self;
    int (*get)(void *self, int part, float *host, struct err *err);
    int (*put)(void *self, int part, const float *host, struct err *err);
    float *buffer;      /* [n_parameters], the caller's, for one part at a time */
    int64_t *exposures; /* [vocab] */
};

/* Hash of everything that decides the numbers of a run: the spec without its
 * name, notes, tags, snapshots and resources, and the token stream. ERR_NO_MEMORY. */
int checkpoint_identity(const struct spec *spec, const struct dataset *dataset, char hex[HASH_HEX],
                        struct err *err);

/* Write a checkpoint into dir. On failure the ones that were there stay.
 * ERR_IO (disk full, ...), ERR_NO_MEMORY, ERR_TOO_LARGE (the path), or what get said. */
int checkpoint_save(const char *dir, const struct checkpoint *checkpoint,
                    const struct checkpoint_parts *parts, struct err *err);

/* Load the newest intact checkpoint of dir that wants no record beyond max_epoch
 * (checkpoint->epoch <= max_epoch). expect holds what this run is; epoch and
 * step are ignored. *out: the checkpoint, *found 0 if there is none to use (then
 * nothing was put). A damaged file is passed over for the previous one; `note`
 * (ERR_MESSAGE_MAX bytes) then says so, else it is "".
 * ERR_CORRUPT when no file is intact, ERR_UNAVAILABLE when it comes from
 * another experiment, device, precision, instruction set, number of threads or
 * build, naming both. */
int checkpoint_load(const char *dir, const struct checkpoint *expect, int64_t max_epoch,
                    const struct checkpoint_parts *parts, struct checkpoint *out, int *found,
                    char *note, struct err *err);

/* Remove every checkpoint file of dir; missing ones are fine. ERR_IO. */
int checkpoint_remove(const char *dir, struct err *err);

#endif
