/* text_name: which names a text may have, and which names are the same. One rule for every
 * door: uploads, /corpus/id of a spec, the id in an address. Names of other things are labels,
 * with a rule of their own. Pure; any thread.
 *
 * A name stands in URLs, file names, terminals and tables of results, so two names that look
 * the same must be the same bytes. Hence a name is well-formed UTF-8 without characters that
 * are invisible, reorder others, or are a second form of others (Unicode TR 36, UAX 15): no
 * controls, default ignorables, blanks other than U+0020, combining diacritics, conjoining
 * jamo, or compatibility forms of ASCII letters. What is left has one form for all scripts
 * that compose, without tables of normalisation. */
#ifndef TOKENFATE_TEXT_NAME_H
#define TOKENFATE_TEXT_NAME_H

#include "config/err.h"

/* 1 to SPEC_CORPUS_MAX bytes of UTF-8, no character of the classes above, no '/', no '.' in
 * front, no blank at either end. ERR_INVALID with this pointer names the first fault; NULL is
 * a name of 0 bytes. */
int text_name_check(const char *name, const char *pointer, struct err *err);

/* Labels: names of jobs, sweeps and groups, tags, what a token is for. Nobody types them to
 * refer to something, so any text of one line will do: in any form, with what is invisible
 * between what is not (emoji are written so). ERR_INVALID with this pointer for a control
 * character, a bidi control or an end of line, which would reorder or break the line that
 * shows the label; for a label of which nothing can be seen; and for bytes that are no UTF-8. */
int text_name_check_label(const char *label, const char *pointer, struct err *err);

/* Drop the blanks of Unicode at both ends, in place. Well-formed UTF-8. */
void text_name_trim(char *label);

/* 1 if both are the same name: ASCII letters are compared without case. */
int text_name_same(const char *a, const char *b);

/* 1 if name could be taken for `known`: the same, but for characters that are not ASCII where
 * `known` has ASCII ones (a Cyrillic e, an accent). A name without any ASCII letter is a word
 * of another script and resembles nothing. Both are valid names. */
int text_name_resembles(const char *name, const char *known);

#endif
