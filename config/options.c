/* options: see options.h. getopt_long and argp are not used for two reasons: both accept
 * abbreviations, so that a new option could change the meaning of an old command line, and
 * both keep the state of a parse in globals. */
#include "config/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct options_row *options_find(const struct options *options, const char *name, size_t n)
{
    for (int i = 0; i < options->n; i++) {
        const char *own = options->rows[i].name;
        size_t same = 0;
        while (same < n && own[same] && (name[same] == '-' ? '_' : name[same]) == own[same])
            same++;
        if (same == n && !own[n])
            return &options->rows[i];
    }
    return NULL;
}

/* ---- values ---- */

static int options_is_word(const char *words, const char *value)
{
    while (*words) {
        const size_t n = strcspn(words, " ");
        if (strlen(value) == n && memcmp(words, value, n) == 0)
            return 1;
        words += n + (words[n] == ' ');
    }
    return 0;
}

static int options_store_text(const struct options_row *row, char *at, const char *value,
                              const char *source, struct err *err)
{
    if (strlen(value) >= row->size)
        return err_set(err, ERR_INVALID, "%s: %zu bytes are above the limit of %zu", source,
                       strlen(value), row->size - 1);
    if (row->words && !options_is_word(row->words, value))
        return err_set(err, ERR_INVALID, "%s: \"%s\" is not one of: %s", source, value, row->words);
    strcpy(at, value);
    return 0;
}

static int options_store_integer(const struct options_row *row, int64_t *at, const char *value,
                                 const char *source, struct err *err)
{
    char *end;
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    if (isspace((unsigned char)*value) || end == value || *end || errno)
        return err_set(err, ERR_INVALID, "%s: \"%.64s\" is not an integer", source, value);
    if (number < row->min || number > row->max)
        return err_set(err, ERR_INVALID, "%s: %lld is outside %lld to %lld", source, number,
                       (long long)row->min, (long long)row->max);
    *at = number;
    return 0;
}

int options_store(const struct options_row *row, void *target, const char *value,
                  const char *source, struct err *err)
{
    void *at = (char *)target + row->offset;
    switch (row->kind) {
    case OPTIONS_TEXT:
        return options_store_text(row, at, value, source, err);
    case OPTIONS_INTEGER:
        return options_store_integer(row, at, value, source, err);
    case OPTIONS_POINTER:
        *(const char **)at = value;
        return 0;
    case OPTIONS_FLAG:
        *(int *)at = 1;
        return 0;
    case OPTIONS_ELSEWHERE:
        return 0;
    }
    return 0;
}

/* ---- command lines ---- */

/* An option among the words. */
struct options_found {
    const struct options_row *row;
    void *target;
    char source[OPTIONS_NAME_MAX]; /* "--name", as it was typed */
    const char *value;             /* behind the '=', or NULL */
    int is_apart;                  /* the value is the next word */
};

/* 1 and *found if the word is an option of the tables, else 0. */
static int options_look(const struct options *tables, int n, const char *word,
                        struct options_found *found)
{
    const char *name = word + 2, *value = strchr(word, '=');
    const struct options_row *row = NULL;
    if (strncmp(word, "--", 2) != 0)
        return 0;
    const size_t bytes = value ? (size_t)(value - name) : strlen(name);
    int table = 0;
    while (table < n && !(row = options_find(&tables[table], name, bytes)))
        table++;
    if (!row)
        return 0;
    *found = (struct options_found){.row = row,
                                    .target = tables[table].target,
                                    .value = value ? value + 1 : NULL,
                                    .is_apart = row->kind != OPTIONS_FLAG && !value};
    snprintf(found->source, sizeof found->source, "%.*s", (int)bytes + 2, word);
    return 1;
}

int options_take(const struct options *tables, int n, int argc, char **argv, int *at,
                 struct err *err)
{
    struct options_found found;
    if (!options_look(tables, n, argv[*at], &found))
        return 0;
    if (found.row->kind == OPTIONS_FLAG && found.value)
        return err_set(err, ERR_INVALID, "%s takes no value, not \"%.64s\"", found.source,
                       found.value);
    if (found.is_apart && *at + 1 >= argc)
        return err_set(err, ERR_INVALID, "%s needs a value", found.source);
    if (options_store(found.row, found.target,
                      found.is_apart ? argv[*at + 1]
                      : found.value  ? found.value
                                     : "",
                      found.source, err))
        return -1;
    *at += 1 + found.is_apart;
    return 1;
}

int options_ask_help(const struct options *tables, int n, int argc, char **argv)
{
    struct options_found found;
    for (int at = 0; at < argc; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return 1;
        if (options_look(tables, n, argv[at], &found))
            at += found.is_apart;
    }
    return 0;
}

int options_parse(const struct options *tables, int n, int argc, char **argv, int *n_words,
                  struct err *err)
{
    int kept = 0;
    for (int at = 0; at < argc;) {
        const int taken = options_take(tables, n, argc, argv, &at, err);
        if (taken < 0)
            return -1;
        if (taken)
            continue;
        if (argv[at][0] == '-' && argv[at][1])
            return err_set(err, ERR_INVALID, "unknown option %.64s", argv[at]);
        argv[kept++] = argv[at++];
    }
    *n_words = kept;
    return 0;
}

static void options_help_line(FILE *out, const char *name, const char *help, const char *fallback)
{
    char typed[OPTIONS_NAME_MAX];
    snprintf(typed, sizeof typed, "--%s", name);
    for (char *c = typed + 2; *c; c++)
        *c = *c == '_' ? '-' : *c;
    fprintf(out, "  %-21s %s", typed, help);
    fprintf(out, fallback && fallback[0] ? " (%s)\n" : "\n", fallback);
}

void options_help(const struct options *options, FILE *out)
{
    for (int i = 0; i < options->n; i++)
        options_help_line(out, options->rows[i].name, options->rows[i].help,
                          options->rows[i].fallback);
    options_help_line(out, "help", "print this and end", NULL);
}
