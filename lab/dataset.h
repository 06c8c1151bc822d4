/* dataset: everything a spec says about its text, ready to train on: the token
 * stream, counts, groups, and the closed forms of SCIENCE section 3.1-2. The
 * server prepares it to check a job at submit and to show batches and groups;
 * the trainer prepares it to train. Same inputs, same result on both sides.
 * Immutable after dataset_open, any thread. */
#ifndef TOKENFATE_DATASET_H
#define TOKENFATE_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/frequency.h"
#include "lab/groups.h"

struct dataset {
    int vocab;
    int32_t *ids; /* [n]; NULL for the synthetic corpus */
    size_t n;
    struct frequency frequency;
    struct groups groups;
};

/* path: the text's file; NULL or "" when spec->corpus.id is TEXT_SYNTHETIC.
 * Errors of text_read, text_check_utf8, text_make_variant, groups_build and
 * sampler_open, each with the spec's pointer where there is one
 * (/corpus/id, /corpus/variant, /corpus/tokenizer, /model/seq_len). */
int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err);
void dataset_close(struct dataset *dataset);

#endif
