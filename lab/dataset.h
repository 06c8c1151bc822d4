/* dataset: everything that a spec says about its text, ready for training: token stream,
 * counts and groups. lab/theory takes its closed forms from them, lab/sampler its batches.
 * With data.holdout the text is cut into blocks of SPEC_HOLDOUT_BLOCK tokens, and every
 * holdout-th block is held out: counts, groups and batches are of the rest. With
 * corpus.vocabulary "used" every id here is a rank among the tokenizer's ids that occur in
 * the text, held-out part included. A word (lab/bpe.h) of the held-out part is seen if the
 * training part has a word of the same bytes, else unseen. A word cut by the edge of a block
 * is in neither part.
 *
 * The server opens a dataset to check a job at submission and to show batches and groups,
 * the trainer to train. Same inputs, same result on both sides. Immutable after
 * dataset_open, any thread. */
#ifndef TOKENFATE_DATASET_H
#define TOKENFATE_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/frequency.h"
#include "lab/groups.h"
#include "lab/sampler.h"
#include "lab/token_stream.h"

/* Bits of a token of the held-out part; 0: not part of a word. */
enum dataset_word {
    DATASET_WORD_SEEN = 1,   /* part of a seen word */
    DATASET_WORD_UNSEEN = 2, /* part of an unseen word */
    DATASET_WORD_FIRST = 4,
    DATASET_WORD_LAST = 8
};

struct dataset {
    int vocab;
    int32_t *original;          /* [vocab] ids of the tokenizer, ascending; NULL: the same ids */
    struct token_stream stream; /* owns ids; its words are gone */
    int is_as_filed;            /* 1: the ids are those of a token file, none was changed */
    int32_t *ids;               /* [n] training part; NULL for the synthetic corpus */
    size_t n;
    size_t segment;    /* training tokens between two held-out blocks; 0: nothing is held out */
    int32_t *held_out; /* [n_held_out] NULL if there is none */
    size_t n_held_out;
    /* [n_held_out] bits of dataset_word. NULL without words: nothing is held out, the text
     * is shuffled, or its tokenizer makes none. */
    uint8_t *held_out_words;
    struct frequency frequency; /* of the training part */
    struct groups groups;
};

/* path: the file of the text, of which the spec's variant is made and encoded; or the folder of
 * its token files, which are mapped (token_stream.h; needs hash_init). With corpus.shuffled the
 * token stream is permuted (groups' seed). If corpus.id is TEXT_SYNTHETIC, path is ignored,
 * shuffled changes nothing, and bpe may be NULL (custom groups by id only).
 *
 * ERR_INVALID with pointers into the spec: a text that is missing, empty, too large or not
 * UTF-8 (/corpus/id), a variant that it does not have (/corpus/variant), counts of another
 * tokenizer (/corpus/tokenizer), a text too short to hold out a window, or synthetic
 * (/data/holdout), a cutoff that is not below the vocabulary (/model/cutoffs/0), and
 * everything that groups_build and sampler_open refuse. Else ERR_IO, ERR_NO_MEMORY; of a folder
 * ERR_NOT_FOUND, ERR_CORRUPT. dataset_close frees. */
int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err);
void dataset_close(struct dataset *dataset);

/* ERR_INVALID with every cutoff of an adaptive head that is not below the vocabulary. */
int dataset_check_cutoffs(const struct spec *spec, int vocab, struct err *err);

/* Check a spec against a text that was opened for a spec with the same corpus and holdout:
 * everything that dataset_open refuses about groups, windows and cutoffs. Gives its groups
 * (groups_free) and the steps of an epoch. */
int dataset_check(const struct dataset *dataset, const struct spec *spec, const struct bpe *bpe,
                  struct groups *groups, int64_t *steps_per_epoch, struct err *err);

/* The text as sampler_open takes it. groups NULL: those of the dataset. */
struct sampler_text dataset_text(const struct dataset *dataset, const struct groups *groups);

/* Bytes of memory of its own: pages of token files that were not changed are the system's. */
int64_t dataset_memory(const struct dataset *dataset);

/* The tokenizer's id of a token of the dataset. */
int32_t dataset_original(const struct dataset *dataset, int32_t id);

#endif
