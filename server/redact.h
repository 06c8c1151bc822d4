/* redact: takes the folders of this server out of a sentence that a client will read. Errors
 * of files name whole paths, which is right for the log and tells a client what is none of its
 * business. Called where errors leave the server: answers (server/http/request.c) and errors and
 * logs of jobs, and reasons why jobs and devices wait (server/queue). Pure; any thread. */
#ifndef TOKENFATE_REDACT_H
#define TOKENFATE_REDACT_H

#include "config/err.h"
#include "config/settings.h"

/* Cut the absolute folders of the settings (data, share, corpus_path, the
 * trainer's) off the paths in the
 * message and the fields: "cannot read corpora/x". 1 if there was one. */
int redact_err(const struct settings *settings, struct err *err);
/* The same with one sentence, in place. */
int redact_text(const struct settings *settings, char *text);

/* An address without what may be a secret: user, path and query. "https://host:port/…" if there
 * was more behind the host. Cut to n bytes. */
void redact_url(const char *url, char *out, size_t n);

#endif
