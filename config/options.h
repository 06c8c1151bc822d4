/* options: the one reader of command lines. A program states its options as a table; the
 * reader finds them among the words in any order and stores them in the program's struct.
 *
 * An option is typed "--name value" or "--name=value", a flag "--name". Names are exact: no
 * abbreviations, but '-' and '_' are the same. Errors name the option and the value. Pure
 * functions; any thread. */
#ifndef TOKENFATE_OPTIONS_H
#define TOKENFATE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/err.h"

enum { OPTIONS_NAME_MAX = 64 }; /* bytes of a name, with its dashes and its zero */

enum options_kind {
    OPTIONS_FLAG,     /* int, becomes 1 */
    OPTIONS_INTEGER,  /* int64_t within min .. max */
    OPTIONS_TEXT,     /* char[size]: a copy */
    OPTIONS_POINTER,  /* const char *: the argument itself */
    OPTIONS_ELSEWHERE /* takes a value that somebody else reads; nothing is stored */
};

struct options_row {
    const char *name; /* without dashes, words joined by '_' */
    enum options_kind kind;
    size_t offset, size; /* of the member in the target */
    int64_t min, max;    /* of an integer */
    const char *words;   /* allowed texts, separated by spaces; NULL: any */
    const char *fallback, *help;
};

/* A table and the struct that its offsets are about. */
struct options {
    const struct options_row *rows;
    int n;
    void *target;
};

/* The row whose name equals the n bytes at name, or NULL. */
const struct options_row *options_find(const struct options *options, const char *name, size_t n);

/* Check a value and store it: also for values that do not come from a command line. source
 * is what an error names ("--threads", "TOKENFATE_THREADS"). ERR_INVALID, target untouched. */
int options_store(const struct options_row *row, void *target, const char *value,
                  const char *source, struct err *err);

/* The option at argv[*at], if it is one of the n tables: 1 with *at moved past it and its
 * value; 0 for any other word; -1 with ERR_INVALID. */
int options_take(const struct options *tables, int n, int argc, char **argv, int *at,
                 struct err *err);

/* All of argv[0..argc): stores the options and moves the other words, in order, to
 * argv[0..*n_words). A word that starts with '-' is an unknown option, "-" alone is a word.
 * ERR_INVALID; options that stand before the bad one are stored then. */
int options_parse(const struct options *tables, int n, int argc, char **argv, int *n_words,
                  struct err *err);

/* 1 if one of the words is --help or -h and not the value of an option of the tables. Asked
 * before anything is parsed: help depends on no other word. */
int options_ask_help(const struct options *tables, int n, int argc, char **argv);

/* A line for each row: name, help, and the fallback in parentheses, if there is one. Then
 * --help, which no table has. */
void options_help(const struct options *options, FILE *out);

#endif
