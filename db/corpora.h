/* corpora: names and addresses of texts. The bytes are files below
 * data/corpora/<sha256>; a row exists only for a file that is there. */
#ifndef TOKENFATE_CORPORA_H
#define TOKENFATE_CORPORA_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

struct corpus {
    char sha256[65];
    char name[101];
    int64_t bytes;
    int64_t created_at;
    char user[65];
};

/* A name always means its newest text; the older ones keep their address.
 * *created: 1 new bytes or a new name, 0 nothing changed. */
int corpus_insert(struct db_writer *writer, const struct corpus *corpus, int *created,
                  struct err *err);

/* By name or sha256. ERR_NOT_FOUND. */
int corpus_get(struct db_reader *reader, const char *id, struct corpus *out, struct err *err);

typedef int corpus_row(void *self, const struct corpus *corpus);
int corpus_list(struct db_reader *reader, corpus_row *row, void *self, struct err *err);

#endif
