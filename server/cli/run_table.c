/* run_table: see run_table.h. A table of lines; each line computes one number per group. A
 * number that does not exist (a mask left no pair, a token never occurs) is a dash, never a
 * zero. Widths count characters of UTF-8, not bytes. */
#include "server/cli/run_table.h"

#include <math.h>
#include <string.h>

#include "config/readable.h"
#include "lab/theory.h"
#include "server/queue/divergence.h"

enum {
    TABLE_LABEL_WIDTH = 40,
    TABLE_COLUMN_MIN = 13, /* "least_common" and a space */
    TABLE_COLUMN_MAX = 24,
    TABLE_FIELD_NONE = -1,  /* the line reads no field of a record */
    TABLE_SCIENTIFIC = -1,  /* exponent form: a probability */
    TABLE_TEXT_WIDTH = 100, /* of the claims' paragraphs */
    TABLE_TEXT_INDENT = 4
};

enum line_value {
    LINE_TOKENS,       /* number of tokens in the group */
    LINE_FIRST,        /* a field of the record of epoch 0 */
    LINE_LAST,         /* the same field of the last epoch */
    LINE_CHANGE,       /* last - first */
    LINE_CONTEXT_FREE, /* mean ln(c/N): count c of a token in a text of N tokens */
    LINE_UNTRAINED     /* closed form of the level at epoch 0 */
};

struct line {
    const char *label; /* "%mask" and "%epoch" stand for their values */
    enum line_value value;
    int field;     /* enum record_field; of a masked line the field of mask none */
    int is_masked; /* the spec's mask is added to the field; not printed for mask none */
    int decimals;  /* or TABLE_SCIENTIFIC */
};

static const struct line lines[] = {
    {"tokens", LINE_TOKENS, TABLE_FIELD_NONE, 0, 0},
    {"mean log p, epoch 0", LINE_FIRST, RECORD_MEAN_LOGP_NONE, 0, 3},
    {"mean log p, epoch %epoch", LINE_LAST, RECORD_MEAN_LOGP_NONE, 0, 3},
    {"  change", LINE_CHANGE, RECORD_MEAN_LOGP_NONE, 0, 3},
    {"mask %mask: log p, epoch 0", LINE_FIRST, RECORD_MEAN_LOGP_NONE, 1, 3},
    {"mask %mask: log p, epoch %epoch", LINE_LAST, RECORD_MEAN_LOGP_NONE, 1, 3},
    {"  change", LINE_CHANGE, RECORD_MEAN_LOGP_NONE, 1, 3},
    {"  tokens it kept, epoch %epoch", LINE_LAST, RECORD_KEPT_NONE, 1, 0},
    {"mean ln(mean p), epoch %epoch", LINE_LAST, RECORD_LN_MEAN_P, 0, 3},
    {"context-free optimum, mean ln(c/N)", LINE_CONTEXT_FREE, TABLE_FIELD_NONE, 0, 3},
    {"mean p, epoch 0", LINE_FIRST, RECORD_MEAN_P, 0, TABLE_SCIENTIFIC},
    {"mean p, epoch %epoch", LINE_LAST, RECORD_MEAN_P, 0, TABLE_SCIENTIFIC},
    {"untrained level (closed form)", LINE_UNTRAINED, TABLE_FIELD_NONE, 0, 3},
};

static double line_number(const struct run_table *table, const struct line *line, int group)
{
    int mask = line->is_masked ? (int)table->spec->groups.mask : 0;
    int at = line->field == TABLE_FIELD_NONE
                 ? 0
                 : record_at(group, (enum record_field)(line->field + mask));
    switch (line->value) {
    case LINE_TOKENS:
        return table->dataset->groups.group[group].n;
    case LINE_FIRST:
        return table->first[at];
    case LINE_LAST:
        return table->last[at];
    case LINE_CHANGE:
        return table->last[at] - table->first[at];
    case LINE_CONTEXT_FREE:
        return theory_context_free(&table->dataset->groups.group[group],
                                   &table->dataset->frequency);
    case LINE_UNTRAINED:
        return theory_untrained_group(table->spec, &table->dataset->groups.group[group],
                                      &table->dataset->frequency);
    }
    return NAN;
}

/* Characters of UTF-8 text. */
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static int column_width(const char *name)
{
    int width = text_width(name) + 1;
    return width < TABLE_COLUMN_MIN ? TABLE_COLUMN_MIN
                                    : (width > TABLE_COLUMN_MAX ? TABLE_COLUMN_MAX : width);
}

/* Print a column's head, right-aligned; a long name is cut between characters. */
static void print_name(FILE *out, const char *name)
{
    int room = column_width(name), width = text_width(name), shown = 0;
    fprintf(out, "%*s", room - (width < room ? width : room - 1), "");
    for (; *name; name++) {
        shown += ((unsigned char)*name & 0xC0) != 0x80;
        if (shown < room)
            putc(*name, out);
    }
}

/* Print a line's label with "%mask" and "%epoch" replaced. */
static void print_label(FILE *out, const struct run_table *table, const char *label)
{
    char text[TABLE_LABEL_WIDTH + 1] = "", epoch[24];
    snprintf(epoch, sizeof epoch, "%lld", (long long)table->epoch);
    while (*label) {
        size_t used = strlen(text);
        const char *word = NULL;
        if (strncmp(label, "%mask", 5) == 0)
            word = spec_mask_name(table->spec->groups.mask);
        else if (strncmp(label, "%epoch", 6) == 0)
            word = epoch;
        snprintf(text + used, sizeof text - used, "%.*s", word ? 24 : 1, word ? word : label);
        label += !word ? 1 : (word == epoch ? 6 : 5);
    }
    fprintf(out, "%-*s", TABLE_LABEL_WIDTH, text);
}

static void print_number(const struct line *line, double number, char *text, size_t n)
{
    if (!isfinite(number))
        snprintf(text, n, "-");
    else if (line->decimals == TABLE_SCIENTIFIC)
        snprintf(text, n, "%.2e", number);
    else if (line->value == LINE_CHANGE)
        snprintf(text, n, "%s", readable_signed(number, line->decimals).text);
    else
        snprintf(text, n, "%s", readable(number, line->decimals).text);
}

static void print_line(FILE *out, const struct run_table *table, const struct line *line)
{
    const struct groups *groups = &table->dataset->groups;
    print_label(out, table, line->label);
    for (int group = 0; group < groups->n; group++) {
        char text[READABLE_BYTES];
        print_number(line, line_number(table, line, group), text, sizeof text);
        fprintf(out, "%*s", column_width(groups->group[group].name), text);
    }
    putc('\n', out);
}

/* List the groups that ended above, then those that ended below the untrained level. */
static void print_sides(FILE *out, const struct run_table *table)
{
    const struct groups *groups = &table->dataset->groups;
    static const char *const heads[] = {"Below the untrained level: ",
                                        "Above the untrained level: "};
    for (int above = 1; above >= 0; above--) {
        int listed = 0;
        for (int group = 0; group < groups->n; group++) {
            double logp = table->last[record_at(group, RECORD_MEAN_LOGP_NONE)];
            double level = theory_untrained_group(table->spec, &groups->group[group],
                                                  &table->dataset->frequency);
            if (!isfinite(logp) || (logp > level) != above)
                continue;
            fputs(listed++ ? ", " : heads[above], out);
            fputs(groups->group[group].name, out);
        }
        if (listed)
            fputs(".\n", out);
    }
}

void run_print_table(FILE *out, const struct run_table *table)
{
    const struct groups *groups = &table->dataset->groups;
    const struct frequency *frequency = &table->dataset->frequency;
    fprintf(out, "\n%s: %lld epochs, %lld tokens of %d types, vocabulary %d\n", table->spec->name,
            (long long)table->epoch, (long long)frequency->total, frequency->types,
            table->dataset->vocab);
    fprintf(out, "loss %s at epoch 0, %s at epoch %lld (nats; log p: natural logarithm)\n\n",
            readable(table->first[RECORD_LOSS], 4).text, readable(table->last[RECORD_LOSS], 4).text,
            (long long)table->epoch);
    fprintf(out, "%-*s", TABLE_LABEL_WIDTH, "");
    for (int group = 0; group < groups->n; group++)
        print_name(out, groups->group[group].name);
    putc('\n', out);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!lines[i].is_masked || table->spec->groups.mask != MASK_NONE)
            print_line(out, table, &lines[i]);
    putc('\n', out);
    print_sides(out, table);
}

/* Print an indented paragraph, broken between words. */
static void print_wrapped(FILE *out, const char *text)
{
    int column = 0;
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (column == 0 || column + (int)n + 1 > TABLE_TEXT_WIDTH) {
            fprintf(out, "%s%*s", column ? "\n" : "", TABLE_TEXT_INDENT, "");
            column = TABLE_TEXT_INDENT;
        } else {
            putc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)n, text);
        column += (int)n;
        text += n;
        text += *text == ' ';
    }
    putc('\n', out);
}

void run_print_findings(FILE *out, const struct findings_run *run, const char *diverged)
{
    struct finding findings[FINDINGS_CLAIMS];
    findings_judge(run, 1, findings);
    if (diverged)
        divergence_unjudge(findings, diverged);
    fputs("\nThe study's claims (SCIENCE section 5):\n", out);
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        const struct finding *finding = &findings[c];
        char head[FINDINGS_TEXT];
        snprintf(head, sizeof head, "%s: %s", findings_verdict_name(finding->verdict),
                 finding->measured);
        fprintf(out, "- %s (%s)\n", finding->sentence, finding->section);
        print_wrapped(out, head);
        if (finding->cause[0])
            print_wrapped(out, finding->cause);
    }
}
