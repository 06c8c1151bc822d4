/* model_rows: the embedding rows of a stored model, mapped read-only from its safetensors
 * file (written by gpu/safetensors: 8 bytes of header length, JSON, float32 tensors).
 * Nothing is copied.
 *
 * api/indicators calls it on pool threads; one thread per struct. Invariant: while the
 * struct is open, `output` and `input` point into the map and are valid float32 arrays of
 * vocab * C elements. */
#ifndef TOKENFATE_MODEL_ROWS_H
#define TOKENFATE_MODEL_ROWS_H

#include <stdint.h>

#include "config/err.h"
#include "config/file.h"

struct model_rows {
    const float *output, *input; /* [vocab][C]; the same array for a tied model */
    int64_t vocab, C;
    struct file_map file; /* owns the bytes */
};

/* ERR_NOT_FOUND if the file does not exist, ERR_CORRUPT if it is not in the format of the
 * trainer, ERR_IO. err must not be NULL. model_rows_close unmaps; a struct of zeros is
 * fine. */
int model_rows_open(const char *path, struct model_rows *out, struct err *err);
void model_rows_close(struct model_rows *rows);

#endif
