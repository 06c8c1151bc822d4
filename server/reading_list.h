/* reading_list: the texts that are to be read into token files (lab/token_stream.h), oldest
 * first, and those that could not be read. Handlers ask on pool threads (datasets_prepare), one
 * thread works the list off (queue/reading.c).
 *
 * serve opens it with the datasets. One mutex guards it. Invariant: a text stands here once for
 * each variant, tokenizer and need of words, however often it was asked for. A text that cannot
 * be read keeps its error, so that it is not read again for every job. */
#ifndef TOKENFATE_READING_LIST_H
#define TOKENFATE_READING_LIST_H

#include "config/err.h"
#include "config/spec.h"

enum {
    READING_LIST_MAX = 64, /* texts: more are refused until some are read */
    READING_LIST_TRIES =
        3, /* processes that a text may cost: it may need more memory than there is */
    READING_LIST_PAUSE_MS = 1000,         /* after the first failure that may pass */
    READING_LIST_PAUSE_MAX_MS = 32 * 1000 /* a full disk stays full */
};

struct reading_list;

int reading_list_open(struct reading_list **out, struct err *err);
void reading_list_close(struct reading_list *list);

/* What decides about token files. */
struct reading_key {
    char text[SPEC_CORPUS_MAX + 1]; /* sha256 */
    enum spec_variant variant;
    char tokenizer[16];
    int words;
};

/* Ask for the tokens of the spec's text. Always -1: ERR_UNAVAILABLE while they are to come, else
 * the error with which reading ended, with its pointer into the spec. ERR_TOO_MANY. */
int reading_list_want(struct reading_list *list, const struct spec *spec, struct err *err);

/* The oldest text that is to be read and whose pause is over, which stays in the list: 1. 0 after
 * wait_ms without one, or after reading_list_wake. */
int reading_list_next(struct reading_list *list, struct reading_key *key, int wait_ms);

/* Why a text could not be read. pointer: the field of the spec that is to blame, or "". */
struct reading_failure {
    enum err_code code;
    char pointer[ERR_POINTER_MAX], text[ERR_MESSAGE_MAX];
};

/* The end of reading. failure NULL: the files are made. ERR_INVALID is the text's own error and
 * is kept. ERR_DEVICE (the process that read was lost) is kept after READING_LIST_TRIES times;
 * anything else (memory, a full disk) may pass. What may pass is read again after a pause, behind
 * the other texts: each time twice as long, up to READING_LIST_PAUSE_MAX_MS. */
void reading_list_done(struct reading_list *list, const struct reading_key *key,
                       const struct reading_failure *failure);

/* Drop the failures that are not the text's own, once the jobs that waited have got them. */
void reading_list_drop_lost(struct reading_list *list);

/* Let reading_list_next return. */
void reading_list_wake(struct reading_list *list);

#endif
