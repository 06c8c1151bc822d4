/* corpora: putting texts where the database says they are: data/corpora/<sha256>.
 * A file is complete and durable before its row exists. Start-up and pool
 * threads. */
#ifndef TOKENFATE_SERVER_CORPORA_H
#define TOKENFATE_SERVER_CORPORA_H

#include "config/err.h"
#include "config/settings.h"
#include "db/corpora.h"
#include "db/db.h"

/* ERR_INVALID (pointer: name) unless 1..100 bytes, printable, without '/', and
 * neither a sha256 nor the synthetic corpus. */
int corpora_check_name(const char *name, struct err *err);

/* Take over the file at path (inside the data folder): check that it is UTF-8,
 * hash it, make it durable, move it to its address. Fills sha256 and bytes. */
int corpora_adopt(const struct settings *settings, const char *path, struct corpus *corpus,
                  struct err *err);

/* Every text with a known name that lies in corpus_path: copied in and named. A
 * text that is not there is no error. */
int corpora_import(const struct settings *settings, struct db *db, struct err *err);

#endif
