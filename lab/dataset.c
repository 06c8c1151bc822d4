/* dataset: see dataset.h. Reads, checks, encodes, counts and groups in one
 * straight line. What is the user's fault comes back as a bad field of the
 * spec, all of them at once where one does not hide the other; what is the
 * machine's (I/O, memory) as it is. */
#include "lab/dataset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lab/random.h"
#include "lab/sampler.h"
#include "lab/text.h"

/* Pass on what a step said, as a bad field if the text or the spec is to blame. */
static int blame(struct err *err, const char *pointer, const struct err *cause)
{
    switch (cause->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_TOO_LARGE:
        return err_field(err, pointer, "%s", cause->message);
    default:
        return err_set(err, cause->code, "%s", cause->message);
    }
}

/* Token ids of the spec's variant of a text. */
static int encode_file(const struct spec *spec, const char *path, const struct bpe *bpe,
                       int32_t **ids, size_t *n, struct err *err)
{
    struct text text = {0};
    struct err cause;
    err_clear(&cause);
    int result = 0;
    if (text_read(path, &text, &cause) || text_check_utf8(text.bytes, text.n, &cause))
        result = blame(err, "/corpus/id", &cause);
    else if (text_make_variant(&text, spec->corpus.variant, &cause))
        result = blame(err, "/corpus/variant", &cause);
    else if (bpe_encode(bpe, text.bytes, text.n, ids, n, &cause))
        result = blame(err, "/corpus/id", &cause);
    text_free(&text);
    return result;
}

/* Fisher and Yates, as in Durstenfeld 1964. */
static void shuffle(int32_t *ids, size_t n, uint64_t seed)
{
    for (size_t i = n; i > 1; i--) {
        const uint64_t j = random_below(seed, RANDOM_SHUFFLE, i - 1, i);
        const int32_t swapped = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = swapped;
    }
}

static int open_text(const struct spec *spec, const char *path, const struct bpe *bpe,
                     struct dataset *dataset, struct err *err)
{
    if (encode_file(spec, path, bpe, &dataset->ids, &dataset->n, err))
        return -1;
    if (spec->corpus.shuffled)
        shuffle(dataset->ids, dataset->n, spec_seed_groups(spec));
    return frequency_count(dataset->ids, dataset->n, bpe_vocabulary(bpe), &dataset->frequency, err);
}

static int open_synthetic(const struct bpe *bpe, struct dataset *dataset, struct err *err)
{
    if (frequency_gulliver(&dataset->frequency, err))
        return -1;
    if (bpe && bpe_vocabulary(bpe) != dataset->frequency.vocab)
        return err_field(err, "/corpus/tokenizer", "%s has counts of gpt2's tokens only",
                         TEXT_SYNTHETIC);
    return 0;
}

static int check_windows(const struct spec *spec, const struct dataset *dataset, struct err *err)
{
    struct sampler *sampler = NULL;
    int result = sampler_open(spec, dataset->ids, dataset->n, &dataset->frequency, &sampler, err);
    sampler_close(sampler);
    return result;
}

int dataset_open(const struct spec *spec, const char *path, const struct bpe *bpe,
                 struct dataset **out, struct err *err)
{
    const int synthetic = strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0;
    assert(synthetic || (path && bpe));
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return err_set(err, ERR_NO_MEMORY, "no memory for a data set");
    int bad =
        synthetic ? open_synthetic(bpe, dataset, err) : open_text(spec, path, bpe, dataset, err);
    if (bad)
        goto out;
    dataset->vocab = dataset->frequency.vocab;
    bad = check_windows(spec, dataset, err);
    if (!bad || !err || err->code == ERR_INVALID)
        bad |= groups_build(spec, &dataset->frequency, bpe, &dataset->groups, err);
    if (bad)
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
    free(dataset->ids);
    frequency_free(&dataset->frequency);
    groups_free(&dataset->groups);
    free(dataset);
}
