/* datasets: the texts as the handlers use them: token streams, counts and groups. The tokens lie
 * in files of the data folder, tokens/<sha256>/ (lab/token_stream.h). Those of a text below
 * DATASETS_READ_NOW bytes are made where they are first asked for; a larger text is put on the
 * reading list, which another process works off (queue/reading.c), so that no request waits for
 * it and no memory of this process holds it. The DATASETS_KEPT most recently used streams stay
 * mapped, and all tokenizers that were asked for.
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
    DATASETS_TOKENIZERS_MAX = 4,
    DATASETS_READ_NOW = 8 << 20 /* bytes: a fifth of a second of tokenising */
};

struct datasets;
struct reading_list;

int datasets_open(const struct settings *settings, struct datasets **out, struct err *err);
void datasets_close(struct datasets *datasets);

/* The texts that are to be read. */
struct reading_list *datasets_reading(struct datasets *datasets);

/* Path of the folder that holds the token files of a text. ERR_TOO_LARGE. */
int datasets_folder(const struct settings *settings, const char *sha256, char *path, size_t n,
                    struct err *err);

/* Make sure that the token files of the spec's text exist. ERR_UNAVAILABLE if they do not yet:
 * the text is on the reading list then. Else the error with which reading ended. */
int datasets_prepare(struct datasets *datasets, const struct spec *spec, struct err *err);

/* Check the token files of the spec's text. 1: they were damaged, and are removed. */
int datasets_remove_damaged(struct datasets *datasets, const struct spec *spec);

/* A tokenizer by name, mapped at its first use and kept. ERR_NOT_FOUND, ERR_CORRUPT. */
int datasets_tokenizer(struct datasets *datasets, const char *name, const struct bpe **out,
                       struct err *err);

/* The text of a spec whose corpus.id is a sha256 or TEXT_SYNTHETIC: token stream and
 * counts come from the cache; the groups of this spec are built for each use and checked
 * as by dataset_open. Errors of datasets_prepare too. datasets_release ends the use. */
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
