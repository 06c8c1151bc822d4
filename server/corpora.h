/* corpora: storage of texts at their address data/corpora/<sha256>, and import of the known
 * texts.
 *
 * serve calls corpora_import before the first request; the handler of uploads calls the
 * others on pool threads. No state. Invariant: a file is complete and durable before its
 * database row exists. */
#ifndef TOKENFATE_SERVER_CORPORA_H
#define TOKENFATE_SERVER_CORPORA_H

#include "config/err.h"
#include "config/settings.h"
#include "db/corpora.h"
#include "db/db.h"

/* ERR_INVALID (pointer: name) unless text_name_check passes and the name is neither a sha256
 * nor the synthetic corpus. */
int corpora_check_name(const char *name, struct err *err);

/* Take over the file at path, which is inside the data folder: check that it is UTF-8,
 * hash it, sync it, rename it to its address. Fills sha256 and bytes. ERR_INVALID for an
 * empty text or one that is not UTF-8; ERR_TOO_LARGE, ERR_IO. On failure before the rename
 * the file stays at path. */
int corpora_adopt(const struct settings *settings, const char *path, struct corpus *corpus,
                  struct err *err);

/* Copy every text with a known name from corpus_path into the data folder and store its
 * name. A missing text is logged and is not an error. */
int corpora_import(const struct settings *settings, struct db *db, struct err *err);

#endif
