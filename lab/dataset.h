/* dataset: everything a spec says about its text, ready to train on: the token
 * stream, the counts and the groups (lab/theory draws its closed forms from
 * them, lab/sampler its batches). With data.holdout the text is cut into blocks
 * of SPEC_HOLDOUT_BLOCK tokens, of which every holdout-th is kept apart; counts,
 * groups and batches are of the rest. With corpus.vocabulary "used" every id in
 * here is a rank among the tokenizer's ids that occur in the text (its held-out
 * part included). Words (lab/bpe.h) of the held-out part are seen if the training part
 * has the same bytes as a word, else unseen; one that a block's edge cuts is in
 * neither part. The server prepares it to check a job at submit and to show
 * batches and groups; the trainer prepares it to train. Same inputs, same result
 * on both sides. Immutable after dataset_open, any thread. */
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

/* What a token of the held-out part is, in bits; 0: no part of a word. */
enum dataset_word {
    DATASET_WORD_SEEN = 1,   /* part of one that is seen ... */
    DATASET_WORD_UNSEEN = 2, /* ... or unseen */
    DATASET_WORD_FIRST = 4,
    DATASET_WORD_LAST = 8
};

struct dataset {
    int vocab;
    int32_t *original; /* [vocab] the tokenizer's ids, ascending; NULL: they are the same */
    int32_t *ids;      /* [n] training part; NULL for the synthetic corpus */
    size_t n;
    size_t segment;    /* training tokens between two held-out blocks; 0: nothing is held out */
    int32_t *held_out; /* [n_held_out] NULL if there is none */
    size_t n_held_out;
    /* [n_held_out] bits of dataset_word; NULL if there are no words: nothing is held
     * out, the text is shuffled, or its tokenizer cuts none */
    uint8_t *held_out_words;
    struct frequency frequency; /* of the training part */
    struct groups groups;
};

/* path: the text's file, of which the spec's variant is made; with
 * corpus.shuffled the stream is permuted (groups' seed). If corpus.id is
 * TEXT_SYNTHETIC path is not looked at, shuffled changes nothing, and bpe may be
 * NULL (custom groups by id only). What is wrong with text or spec is ERR_INVALID
 * with pointers into the spec: a text that is not there, empty, too large or not
 * UTF-8 (/corpus/id), a variant it does not have (/corpus/variant), counts of
 * another tokenizer (/corpus/tokenizer), a text too short to hold out a window or
 * synthetic (/data/holdout), a cutoff that is not below the vocabulary
 * (/model/cutoffs/0), and what groups_build and sampler_open refuse. Else ERR_IO, ERR_NO_MEMORY.
 * dataset_close frees. */
int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err);
void dataset_close(struct dataset *dataset);

/* ERR_INVALID: every cutoff of an adaptive head that is not below the vocabulary. */
int dataset_check_cutoffs(const struct spec *spec, int vocab, struct err *err);

/* Checks a spec against a text that was opened for one with the same corpus and
 * holdout, and gives its groups (groups_free) and the steps of an epoch: what
 * dataset_open refuses of groups, windows and cutoffs. */
int dataset_check(const struct dataset *dataset, const struct spec *spec, const struct bpe *bpe,
                  struct groups *groups, int64_t *steps_per_epoch, struct err *err);

/* The text as sampler_open takes it; groups NULL: the dataset's own. */
struct sampler_text dataset_text(const struct dataset *dataset, const struct groups *groups);

/* The tokenizer's id of one of the dataset's. */
int32_t dataset_original(const struct dataset *dataset, int32_t id);

#endif
