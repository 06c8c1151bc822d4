/* datasets: the texts that this server has tokenised lately, so that checking a
 * job, showing a batch or counting a corpus does not read and tokenise a text
 * again. Least recently used of DATASETS_KEPT; an entry in use stays alive until
 * it is released. Pool threads. */
#ifndef TOKENFATE_DATASETS_H
#define TOKENFATE_DATASETS_H

#include "config/err.h"
#include "config/settings.h"
#include "config/spec.h"
#include "lab/bpe.h"
#include "lab/dataset.h"

enum {
    DATASETS_KEPT = 4,            /* token streams in memory */
    DATASETS_BYTES_MAX = 1 << 30, /* and not more than this, the newest aside */
    DATASETS_TOKENIZERS_MAX = 4
};

struct datasets;

int datasets_open(const struct settings *settings, struct datasets **out, struct err *err);
void datasets_close(struct datasets *datasets);

/* A tokenizer by name, mapped once and kept. ERR_NOT_FOUND, ERR_CORRUPT. */
int datasets_tokenizer(struct datasets *datasets, const char *name, const struct bpe **out,
                       struct err *err);

/* The text of a spec whose corpus.id is a sha256 or TEXT_SYNTHETIC: token
 * stream and counts from the cache, groups of this spec built anew (and checked,
 * as dataset_open does). datasets_release ends the use. */
struct datasets_use {
    const struct dataset *text; /* ids, n, vocab, frequency; not its groups */
    struct groups groups;       /* of the spec */
    int64_t steps_per_epoch;    /* "pass" resolved */
    void *entry;
};
int datasets_get(struct datasets *datasets, const struct spec *spec, struct datasets_use *out,
                 struct err *err);
void datasets_release(struct datasets *datasets, struct datasets_use *use);

#endif
