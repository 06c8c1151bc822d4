/* model_state: see model_state.h. One thread. */
#include "gpu/model_state.h"

#include <assert.h>
#include <stdlib.h>

#include "gpu/model_internal.h"
#include "gpu/model_update.h"
#include "lab/random.h"

enum { UPLOAD_NUMBERS = 1 << 20 }; /* initial weights are uploaded in pieces of 4 MB */

int model_in_flight(const struct model *m)
{
    return (int)(m->ring->started - m->collected);
}

/* ---- initial weights ---- */

/* n initial values of a tensor from element `first` on. */
static void draw(const struct model *m, const struct shapes_tensor *tensor, int64_t first,
                 int64_t n, float *out)
{
    const double std_of[] = {
        [SHAPES_TOKEN_EMBEDDING] = m->init_std,
        [SHAPES_POSITION_EMBEDDING] = m->position_std,
        [SHAPES_WEIGHT] = m->init_std,
        [SHAPES_BIAS] = 0,
        [SHAPES_GAIN] = 0,
        [SHAPES_UNEMBEDDING] = m->init_std,
        [SHAPES_HEAD_BIAS] = 0,
    };
    const double std = std_of[tensor->kind], mean = tensor->kind == SHAPES_GAIN ? 1 : 0;
    const int64_t drawn = tensor->file_rows * tensor->cols; /* rows behind these are padding */
    const int equal = tensor->kind == SHAPES_UNEMBEDDING && m->tie == TIE_UNTIED_EQUAL;
    const int64_t base = equal ? m->shapes.tensor[WTE].offset : tensor->offset;
#pragma omp parallel for num_threads(m->backend->threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        if (first + i >= drawn)
            out[i] = 0;
        else if (std == 0)
            out[i] = (float)mean;
        else
            out[i] = (float)(mean + std * random_normal(m->seed, RANDOM_WEIGHTS,
                                                        (uint64_t)(base + first + i)));
    }
}

/* Refresh the ACT copy from its fp32 masters. */
static void refresh_copy(struct model *m)
{
    if (m->copy)
        m->backend->cast(m->backend, m->copy, m->parameters, m->shapes.n_parameters);
}

int model_initialise(struct model *m, struct err *err)
{
    float *piece = malloc(UPLOAD_NUMBERS * sizeof *piece);
    if (!piece)
        return err_set(err, ERR_NO_MEMORY, "no memory to draw initial weights");
    for (int i = 0; i < m->shapes.n_tensors; i++) {
        const struct shapes_tensor *tensor = &m->shapes.tensor[i];
        const int64_t size = tensor->rows * tensor->cols;
        for (int64_t first = 0; first < size; first += UPLOAD_NUMBERS) {
            const int64_t n = size - first < UPLOAD_NUMBERS ? size - first : UPLOAD_NUMBERS;
            draw(m, tensor, first, n, piece);
            m->backend->upload(
                m->backend,
                backend_at(m->backend, m->parameters, NUMBER_REAL, tensor->offset + first),
                NUMBER_REAL, piece, NUMBER_FLOAT, n);
        }
    }
    free(piece);
    refresh_copy(m);
    m->backend->zero(m->backend, m->gradients, m->plan.gradients);
    if (m->moments)
        m->backend->zero(m->backend, m->moments, m->plan.moments);
    return m->backend->sync(m->backend, err);
}

/* ---- reading and writing ---- */

int model_parts(const struct model *m)
{
    return 1 + m->plan.n_moments;
}

/* Address of a part; a part that the optimiser does not have is a bug of the caller. */
static void *part_memory(const struct model *m, enum model_part part)
{
    void *const memory[] = {
        [MODEL_PARAMETERS] = m->parameters,
        [MODEL_MOMENT1] = model_moment(m, 0, 0),
        [MODEL_MOMENT2] = model_moment(m, 1, 0),
        [MODEL_GRADIENTS] = m->gradients,
    };
    assert(memory[part]);
    return memory[part];
}

int model_download(struct model *m, enum model_part part, float *host, struct err *err)
{
    return m->backend->download(m->backend, host, NUMBER_FLOAT, part_memory(m, part), NUMBER_REAL,
                                m->shapes.n_parameters, err);
}

int model_upload(struct model *m, enum model_part part, const float *host, struct err *err)
{
    m->backend->upload(m->backend, part_memory(m, part), NUMBER_REAL, host, NUMBER_FLOAT,
                       m->shapes.n_parameters);
    if (part == MODEL_PARAMETERS)
        refresh_copy(m);
    return m->backend->sync(m->backend, err);
}
