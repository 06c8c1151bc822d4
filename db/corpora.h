/* corpora: names and addresses of texts. The address of a text is its SHA-256, the
 * bytes are the file corpora/<sha256> of the data folder. A row exists only for a
 * file that exists. Functions that take a writer run inside a db_operation. */
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

/* May a name that stands for a text be given to another one? */
enum corpus_replace {
    CORPUS_REPLACE_NONE,
    CORPUS_REPLACE_OWN, /* only a text of the same user */
    CORPUS_REPLACE_ANY
};

/* Insert a text under a name. A name stands for its newest text; older texts keep their
 * address. *created: 1 = new bytes or a new name, 0 = the name stands for these bytes
 * already, and nothing changed. Names are compared as text_name_same does; the spelling that
 * is stored first stays. ERR_CONFLICT, with OWN ERR_FORBIDDEN, if the name stands for other
 * bytes and `replace` does not allow it. */
int corpus_insert(struct db_writer *writer, const struct corpus *corpus,
                  enum corpus_replace replace, int *created, struct err *err);

/* Get a text by address, else by name. ERR_NOT_FOUND. */
int corpus_get(struct db_reader *reader, const char *id, struct corpus *out, struct err *err);

/* ERR_NOT_FOUND if no text has this address. Run in the operation that inserts a job, it keeps
 * corpus_delete from taking the text of that job. */
int corpus_check(struct db_writer *writer, const char *sha256, struct err *err);

/* Delete one name of a text (id: the name), or the text with all its names (id: the address).
 * *last: 1 = the text has no name left, so its file is to be removed. A name that stood for
 * the text stands for nothing afterwards: older texts of that name keep only their address,
 * which is their name then. user: may delete only what this user uploaded; NULL:
 * everything. ERR_NOT_FOUND; ERR_FORBIDDEN; ERR_CONFLICT names jobs that use the text, if it
 * were its last name. */
int corpus_delete(struct db_writer *writer, const char *id, const char *user, int *last,
                  struct err *err);

/* Call row for every text, newest first; stops when row returns non-zero. */
typedef int corpus_row(void *self, const struct corpus *corpus);
int corpus_list(struct db_reader *reader, corpus_row *row, void *self, struct err *err);

#endif
