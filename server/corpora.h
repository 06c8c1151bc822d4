/* corpora: storage of texts at their address data/corpora/<sha256>, and import of the known
 * texts.
 *
 * serve calls corpora_import before the first request; the handler of uploads calls the
 * others on pool threads. One mutex orders their changes. Invariant: a file is complete and
 * durable before its database row exists. */
#ifndef TOKENFATE_SERVER_CORPORA_H
#define TOKENFATE_SERVER_CORPORA_H

#include "config/err.h"
#include "config/settings.h"
#include "db/corpora.h"
#include "db/db.h"

/* ERR_INVALID (pointer: name) unless text_name_check passes and the name has not the form of
 * a sha256. */
int corpora_check_name(const char *name, struct err *err);

/* Store the upload at path, a file inside the data folder, as a text: check that it is UTF-8,
 * hash it, sync it, rename it to its address, insert its row. corpus: in, name (checked) and
 * user; out, the text as it is stored. *created as of corpus_insert. ERR_INVALID for an empty
 * text or one that is not UTF-8; ERR_CONFLICT for a name that is reserved (built in, known, or
 * a file in corpus_path) and other bytes than its own; ERR_CONFLICT and ERR_FORBIDDEN as of
 * corpus_insert; ERR_TOO_LARGE, ERR_IO. The file may still be at path after a failure. */
int corpora_upload(const struct settings *settings, struct db *db, struct db_reader *reader,
                   const char *path, enum corpus_replace replace, struct corpus *corpus,
                   int *created, struct err *err);

/* Delete a text, or one of its names, as corpus_delete does, and with its last name its file.
 * actor: the user who asks, also where `user` is NULL.
 * ERR_CONFLICT for the built-in text and for a known text of corpus_path. A crash in between
 * is repaired by corpora_import. */
int corpora_delete(const struct settings *settings, struct db *db, struct db_reader *reader,
                   const char *id, const char *user, const char *actor, struct err *err);

/* 1 if corpora_delete refuses the text under its name, whoever asks: it is built in, or a known
 * text of corpus_path. */
int corpora_is_reserved(const struct settings *settings, struct db_reader *reader,
                        const struct corpus *corpus);

/* End deletions that a killed server left half done. Copy every text with a known name from
 * corpus_path into the data folder and store its name. A missing text is logged and is not an
 * error. */
int corpora_import(const struct settings *settings, struct db *db, struct err *err);

#endif
