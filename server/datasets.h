/* datasets: a cache of tokenised texts, so that checking a job, showing a batch or
 * counting a corpus does not read and tokenise a text again. It keeps the DATASETS_KEPT
 * most recently used ones, and all tokenizers that were asked for.
 *
 * serve opens and closes it; in between handlers call it on pool threads, and any thread
 * may. Invariant: an entry in use stays alive until its last user has released it,
 * and a tokenizer until datasets_close. */
#ifndef TOKENFATE_DATASETS_H
#define TOKENFATE_DATASETS_H

#include "config/err.h"
#include "config/settings.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/dataset.h"

enum {
    DATASETS_KEPT = 4,            /* token streams in memory */
    DATASETS_BYTES_MAX = 1 << 30, /* of all token streams, except those in use and the last one */
    DATASETS_TOKENIZERS_MAX = 4
};

struct datasets;

int datasets_open(const struct settings *settings, struct datasets **out, struct err *err);
void datasets_close(struct datasets *datasets);

/* A tokenizer by name, mapped at its first use and kept. ERR_NOT_FOUND, ERR_CORRUPT. */
int datasets_tokenizer(struct datasets *datasets, const char *name, const struct bpe **out,
                       struct err *err);

/* The text of a spec whose corpus.id is a sha256 or TEXT_SYNTHETIC: token stream and
 * counts come from the cache; the groups of this spec are built for each use and checked
 * as by dataset_open. datasets_release ends the use. */
struct datasets_use {
    const struct dataset *text; /* ids, n, vocab, frequency; not its groups */
    struct groups groups;       /* of the spec */
    int64_t steps_per_epoch;    /* "pass" resolved */
    void *entry;                /* of the cache; NULL: not in use */
};
int datasets_get(struct datasets *datasets, const struct spec *spec, struct datasets_use *out,
                 struct err *err);
void datasets_release(struct datasets *datasets, struct datasets_use *use);

#endif
