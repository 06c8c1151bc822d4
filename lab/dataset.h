/* dataset: everything a spec says about its text, ready to train on: the token
 * stream, the counts and the groups (lab/theory draws its closed forms from
 * them, lab/sampler its batches). The server prepares it to check a job at
 * submit and to show batches and groups; the trainer prepares it to train. Same
 * inputs, same result on both sides. Immutable after dataset_open, any thread. */
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

/* path: the text's file, of which the spec's variant is made; with
 * corpus.shuffled the stream is permuted (groups' seed). If corpus.id is
 * TEXT_SYNTHETIC path is not looked at, shuffled changes nothing, and bpe may be
 * NULL (custom groups by id only). What is wrong with text or spec is ERR_INVALID
 * with pointers into the spec: a text that is not there, empty, too large or not
 * UTF-8 (/corpus/id), a variant it does not have (/corpus/variant), counts of
 * another tokenizer (/corpus/tokenizer), windows longer than the text
 * (/model/seq_len), and what groups_build refuses. Else ERR_IO, ERR_NO_MEMORY.
 * dataset_close frees. */
int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err);
void dataset_close(struct dataset *dataset);

#endif
