/* dataset: see dataset.h. One straight line: encode or map, hold out, mark words,
 * permute, prune, count, group. An error of the user is a bad field of the spec; all bad
 * fields are reported unless one hides another. An error of the machine (I/O, memory) is
 * passed on unchanged. */
#include "lab/dataset.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lab/random.h"
#include "lab/sampler.h"
#include "lab/text.h"

/* ---- holding out ---- */

/* Move every k-th block into held_out and close the gaps. */
static int hold_out(const struct spec *spec, struct dataset *dataset, struct err *err)
{
    const size_t k = (size_t)spec->data.holdout, block = SPEC_HOLDOUT_BLOCK;
    if (k == 0)
        return 0;
    if (dataset->n < (k - 1) * block + (size_t)spec->model.seq_len + 1)
        return err_field(err, "/data/holdout", "%zu holds out no window of a text of %zu tokens", k,
                         dataset->n);
    dataset->held_out = malloc((dataset->n / k + block) * sizeof *dataset->held_out);
    if (!dataset->held_out)
        return err_set(err, ERR_NO_MEMORY, "no memory for held-out tokens");
    size_t kept = 0;
    for (size_t at = 0; at < dataset->n; at += block) {
        const size_t bytes_left = dataset->n - at, n = bytes_left < block ? bytes_left : block;
        const int is_out = at / block % k == k - 1;
        int32_t *to = is_out ? dataset->held_out + dataset->n_held_out : dataset->ids + kept;
        memmove(to, dataset->ids + at, n * sizeof *to);
        *(is_out ? &dataset->n_held_out : &kept) += n;
    }
    dataset->n = kept;
    dataset->segment = (k - 1) * block;
    return 0;
}

/* ---- words ---- */

/* Number of held-out blocks among those that hold tokens of a word; *n: number of all of
 * them. */
static size_t blocks_out(const struct token_stream_word *word, size_t k, size_t *n)
{
    const size_t first = word->token / SPEC_HOLDOUT_BLOCK,
                 last = (word->token + word->tokens - 1) / SPEC_HOLDOUT_BLOCK;
    size_t out = 0;
    for (size_t block = first; block <= last; block++)
        out += block % k == k - 1;
    *n = last - first + 1;
    return out;
}

/* Set the bits of a word of the held-out part. */
static void mark_word(struct dataset *dataset, const struct token_stream_word *word, size_t k,
                      int is_seen)
{
    const size_t at = word->token / SPEC_HOLDOUT_BLOCK / k * SPEC_HOLDOUT_BLOCK +
                      word->token % SPEC_HOLDOUT_BLOCK;
    uint8_t *bits = dataset->held_out_words + at;
    memset(bits, is_seen ? DATASET_WORD_SEEN : DATASET_WORD_UNSEEN, word->tokens);
    bits[0] |= DATASET_WORD_FIRST;
    bits[word->tokens - 1] |= DATASET_WORD_LAST;
}

static int mark_words(const struct spec *spec, struct dataset *dataset, struct err *err)
{
    const struct token_stream *stream = &dataset->stream;
    const size_t k = (size_t)spec->data.holdout;
    const struct token_stream_word *const end = stream->words + stream->n_words;
    size_t n;
    if (stream->n_words == 0)
        return 0;
    uint8_t *seen = calloc(stream->n_kinds, 1); /* is a word of the kind in the training part? */
    dataset->held_out_words = calloc(dataset->n_held_out + 1, 1);
    if (!seen || !dataset->held_out_words) {
        free(seen);
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu words", stream->n_words);
    }
    for (const struct token_stream_word *word = stream->words; word < end; word++)
        if (blocks_out(word, k, &n) == 0)
            seen[word->kind] = 1;
    for (const struct token_stream_word *word = stream->words; word < end; word++)
        if (blocks_out(word, k, &n) == n)
            mark_word(dataset, word, k, seen[word->kind]);
    free(seen);
    return 0;
}

/* ---- permuting ---- */

/* Fisher and Yates shuffle (Durstenfeld 1964). `first` separates the draws of the two parts
 * of a text. */
static void shuffle(int32_t *ids, size_t n, uint64_t seed, size_t first)
{
    for (size_t i = n; i > 1; i--) {
        const uint64_t j = random_below(seed, RANDOM_SHUFFLE, first + i - 1, i);
        const int32_t swapped = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = swapped;
    }
}

/* ---- pruning the vocabulary ---- */

static void rename_ids(int32_t *ids, size_t n, const int32_t *rank)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = rank[ids[i]];
}

static void mark_used(const int32_t *ids, size_t n, int32_t *rank)
{
    for (size_t i = 0; i < n; i++)
        rank[ids[i]] = 1;
}

/* List the ids marked in rank[vocab], and replace each mark by the rank of its id. */
static int list_used(struct dataset *dataset, int32_t *rank, int vocab, struct err *err)
{
    int n = 0;
    dataset->original = malloc((size_t)vocab * sizeof *dataset->original);
    if (!dataset->original)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d ids", vocab);
    for (int32_t id = 0; id < vocab; id++)
        if (rank[id]) {
            dataset->original[n] = id;
            rank[id] = n++;
        }
    dataset->vocab = n;
    return 0;
}

static int prune(struct dataset *dataset, struct err *err)
{
    int32_t *rank = calloc((size_t)dataset->vocab, sizeof *rank);
    if (!rank)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d ids", dataset->vocab);
    mark_used(dataset->ids, dataset->n, rank);
    mark_used(dataset->held_out, dataset->n_held_out, rank);
    const int failed = list_used(dataset, rank, dataset->vocab, err);
    if (!failed) {
        rename_ids(dataset->ids, dataset->n, rank);
        rename_ids(dataset->held_out, dataset->n_held_out, rank);
    }
    free(rank);
    return failed;
}

/* The same for a text that is known by its counts only. */
static int prune_counts(struct dataset *dataset, struct err *err)
{
    struct frequency *frequency = &dataset->frequency;
    int32_t *rank = calloc((size_t)frequency->vocab, sizeof *rank);
    if (!rank)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d ids", frequency->vocab);
    for (int id = 0; id < frequency->vocab; id++)
        rank[id] = frequency->counts[id] > 0;
    const int failed = list_used(dataset, rank, frequency->vocab, err);
    for (int i = 0; !failed && i < dataset->vocab; i++)
        frequency->counts[i] = frequency->counts[dataset->original[i]];
    if (!failed)
        frequency->vocab = dataset->vocab;
    free(rank);
    return failed;
}

/* ---- opening ---- */

static int is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The counts of a token file hold as long as its ids do. Then no page of the map is touched. */
static int count(struct dataset *dataset, struct err *err)
{
    if (dataset->is_as_filed)
        return frequency_copy(dataset->stream.counts, dataset->vocab, &dataset->frequency, err);
    return frequency_count(dataset->ids, dataset->n, dataset->vocab, &dataset->frequency, err);
}

static int open_text(const struct spec *spec, const char *path, const struct bpe *bpe,
                     struct dataset *dataset, struct err *err)
{
    const uint64_t seed = spec_seed_groups(spec);
    struct token_stream *stream = &dataset->stream;
    dataset->vocab = bpe_vocabulary(bpe);
    if (is_folder(path) ? token_stream_open(spec, path, bpe, stream, err)
                        : token_stream_encode(spec, path, bpe, stream, err))
        return -1;
    dataset->ids = stream->ids;
    dataset->n = stream->n;
    dataset->is_as_filed = stream->counts && !spec->data.holdout && !spec->corpus.shuffled &&
                           spec->corpus.vocabulary != VOCABULARY_USED;
    if (hold_out(spec, dataset, err) || mark_words(spec, dataset, err))
        return -1;
    token_stream_drop_words(stream);
    if (spec->corpus.shuffled) {
        shuffle(dataset->ids, dataset->n, seed, 0);
        shuffle(dataset->held_out, dataset->n_held_out, seed, dataset->n);
    }
    if (spec->corpus.vocabulary == VOCABULARY_USED && prune(dataset, err))
        return -1;
    return count(dataset, err);
}

static int open_synthetic(const struct spec *spec, const struct bpe *bpe, struct dataset *dataset,
                          struct err *err)
{
    int bad = 0;
    if (frequency_gulliver(&dataset->frequency, err))
        return -1;
    dataset->vocab = dataset->frequency.vocab;
    if (bpe && bpe_vocabulary(bpe) != dataset->vocab)
        bad = err_field(err, "/corpus/tokenizer", "%s has counts of gpt2's tokens only",
                        TEXT_SYNTHETIC);
    if (spec->data.holdout)
        bad = err_field(err, "/data/holdout", "%d: %s has no text to hold out", spec->data.holdout,
                        TEXT_SYNTHETIC);
    if (!bad && spec->corpus.vocabulary == VOCABULARY_USED)
        bad = prune_counts(dataset, err);
    return bad;
}

int dataset_check_cutoffs(const struct spec *spec, int vocab, struct err *err)
{
    int bad = 0;
    for (int i = 0; i < spec->model.n_cutoffs; i++) {
        char pointer[ERR_POINTER_MAX];
        if (spec->model.cutoffs[i] < vocab)
            continue;
        snprintf(pointer, sizeof pointer, "/model/cutoffs/%d", i);
        bad = err_field(err, pointer, "%d is not below the vocabulary's %d", spec->model.cutoffs[i],
                        vocab);
    }
    return bad;
}

int dataset_check(const struct dataset *dataset, const struct spec *spec, const struct bpe *bpe,
                  struct groups *groups, int64_t *steps_per_epoch, struct err *err)
{
    struct groups built = {0};
    struct sampler *sampler = NULL;
    int bad = dataset_check_cutoffs(spec, dataset->vocab, err);
    const int ungrouped =
        groups_build(spec, &dataset->frequency, dataset->original, bpe, &built, err);
    bad |= ungrouped;
    if (bad && err && err->code != ERR_INVALID)
        return -1;
    struct sampler_text text = dataset_text(dataset, &built);
    if (ungrouped)
        text.groups = NULL;
    bad |= sampler_open(spec, &text, &sampler, err);
    if (sampler && steps_per_epoch)
        *steps_per_epoch = sampler_steps_per_epoch(sampler);
    sampler_close(sampler);
    if (bad) {
        groups_free(&built);
        return -1;
    }
    *groups = built;
    return 0;
}

struct sampler_text dataset_text(const struct dataset *dataset, const struct groups *groups)
{
    return (struct sampler_text){.ids = dataset->ids,
                                 .n = dataset->n,
                                 .segment = dataset->segment,
                                 .held_out = dataset->held_out,
                                 .n_held_out = dataset->n_held_out,
                                 .frequency = &dataset->frequency,
                                 .groups = groups ? groups : &dataset->groups};
}

int64_t dataset_memory(const struct dataset *dataset)
{
    const size_t ids = dataset->is_as_filed ? 0 : dataset->n;
    return (int64_t)((ids + dataset->n_held_out) * sizeof(int32_t)) +
           (int64_t)dataset->vocab * (int64_t)(sizeof(int64_t) + sizeof(int32_t));
}

int32_t dataset_original(const struct dataset *dataset, int32_t id)
{
    return dataset->original ? dataset->original[id] : id;
}

int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err)
{
    const int synthetic = strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0;
    assert(synthetic || (path && bpe));
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return err_set(err, ERR_NO_MEMORY, "no memory for a data set");
    if (synthetic ? open_synthetic(spec, bpe, dataset, err)
                  : open_text(spec, path, bpe, dataset, err)) {
        if (err && err->code == ERR_INVALID && dataset->vocab)
            dataset_check_cutoffs(spec, dataset->vocab, err);
        goto out;
    }
    if (dataset_check(dataset, spec, bpe, &dataset->groups, NULL, err))
        goto out;
    *out = dataset;
    return 0;
out:
    dataset_close(dataset);
    return -1;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    token_stream_free(&dataset->stream);
    free(dataset->held_out);
    free(dataset->held_out_words);
    free(dataset->original);
    frequency_free(&dataset->frequency);
    groups_free(&dataset->groups);
    free(dataset);
}
