/* model_rows: the embedding rows of a stored model, mapped from its safetensors
 * file (gpu/safetensors writes it: 8 bytes of header length, JSON, float32
 * tensors). Read only; nothing is copied. Pool threads. */
#ifndef TOKENFATE_MODEL_ROWS_H
#define TOKENFATE_MODEL_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

struct model_rows {
    const float *output, *input; /* [vocab][C]; the same array for a tied model */
    int64_t vocab, C;
    void *map; /* the file, of n bytes */
    size_t n;
};

/* ERR_NOT_FOUND if there is no such file, ERR_CORRUPT if it is not what the
 * trainer writes, ERR_IO. model_rows_close unmaps; a struct of zeros is fine. */
int model_rows_open(const char *path, struct model_rows *out, struct err *err);
void model_rows_close(struct model_rows *rows);

#endif
