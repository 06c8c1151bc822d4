/* findings_words: see findings_words.h. Sentences made of the finding's own numbers: what
 * was measured and, if a claim fails or stays open, why. */
#include "lab/findings_words.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/readable.h"
#include "lab/findings_run.h"
#include "lab/theory.h"

struct words {
    char *text;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(words->text + words->used, FINDINGS_TEXT - words->used, format, list);
    va_end(list);
    words->used += n < 0 ? 0 : (size_t)n;
    if (words->used >= FINDINGS_TEXT)
        words->used = FINDINGS_TEXT - 1;
}

static const struct findings_number *number_of(const struct finding *finding, const char *id)
{
    for (int i = 0; i < finding->n; i++)
        if (strcmp(finding->number[i].id, id) == 0)
            return &finding->number[i];
    assert(!"a number that the table does not have");
    return NULL;
}

/* A number with its interval, or "-" without a value. */
static void say_number(struct words *words, const struct finding *finding, const char *id,
                       int digits)
{
    const struct statistics *measured = &number_of(finding, id)->measured;
    if (!measured->n)
        say(words, "-");
    else if (measured->n == 1)
        say(words, "%s", readable(measured->mean, digits).text);
    else
        say(words, "%s ± %s", readable(measured->mean, digits).text,
            readable(measured->half, digits).text);
    if (measured->n && measured->n < finding->runs)
        say(words, " (%d of %d runs)", measured->n, finding->runs);
}

static void say_closed(struct words *words, const struct finding *finding, const char *id,
                       int digits)
{
    const double closed = number_of(finding, id)->closed;
    if (isfinite(closed))
        say(words, " (closed form %s)", readable(closed, digits).text);
}

/* Expand a template: {ID:DIGITS} is a number, {ID:DIGITS+} a number with its closed form. */
static void say_all(struct words *words, const struct finding *finding, const char *text)
{
    for (; *text; text++) {
        char id[32];
        if (*text != '{') {
            say(words, "%c", *text);
            continue;
        }
        const size_t n = strcspn(++text, "}:");
        snprintf(id, sizeof id, "%.*s", (int)n, text);
        say_number(words, finding, id, text[n + 1] - '0');
        if (text[n + 2] == '+')
            say_closed(words, finding, id, text[n + 1] - '0');
        text += strcspn(text, "}");
    }
}

static const char *const measured_words[FINDINGS_CLAIMS] = {
    [FINDINGS_VOCABULARY] = "{types_share:4} of the token types occur",
    [FINDINGS_UNTRAINED] = "level {level:3+}, the groups differ by {spread:3}, tokens by "
                           "{token_sd:2} of what untrained logits allow",
    [FINDINGS_BATCH] = "advantage {advantage:3} nats ({advantage_start:3} over the first tenth "
                       "of the epochs, {advantage_end:3} over the last); ln of the variance ratio "
                       "{stability:2}, with "
                       "{kept:1} tokens kept",
    [FINDINGS_COMMON] = "mean log p is {distance:2} nats from the untrained level, mean ln(mean p) "
                        "{probability:2+} above a uniform draw; Jensen gap {jensen_gap:2} at loss "
                        "{loss:2}",
    [FINDINGS_RARE] = "least_common {rare_change:2}, never_used {never_change:2} nats; never_used "
                      "falls {never_below_rare:2} against least_common",
    [FINDINGS_EMBEDDINGS] = "output rows of tokens never seen moved by {output_moved:3} of their "
                            "norm beyond decay",
    [FINDINGS_MASS] = "most_common holds {mass:3+} of the probability; least_common and never_used "
                      "differ by {linear_difference:5} of its mean p, and by {log_difference:2} "
                      "nats in log p",
};

static int failed(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->verdict == FINDINGS_NOT_SUPPORTED;
}

static double value_of(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->measured.mean;
}

/* Each function says why parts of its claim fail, from the numbers beside them. */
static void say_vocabulary(struct words *words, const struct finding *finding,
                           const struct findings_run *run)
{
    (void)finding;
    say(words, "This text uses %d of the %d tokens of %s.", run->frequency->types,
        run->frequency->vocab, run->spec->corpus.tokenizer);
}

static void say_untrained(struct words *words, const struct finding *finding,
                          const struct findings_run *run)
{
    if (run->spec->model.head == HEAD_ADAPTIVE) {
        say(words, "An adaptive head sets its clusters apart before any training.");
        return;
    }
    if (failed(finding, "level"))
        say(words,
            "The level is -ln V - s^2/2 = %s with V = %d and logits of standard deviation s = %s. ",
            readable(findings_run_untrained_level(run), 3).text, run->frequency->vocab,
            readable(theory_logit_std(run->spec), 3).text);
    if (failed(finding, "spread") || failed(finding, "token_sd"))
        say(words, "Initial logits of standard deviation %s tell tokens apart by chance.",
            readable(theory_logit_std(run->spec), 3).text);
}

/* Explain a mean over all epochs that is too small by the first and the last tenth of them. */
static void say_advantage(struct words *words, const struct finding *finding)
{
    const double start = value_of(finding, "advantage_start"),
                 end = value_of(finding, "advantage_end");
    say(words, "Standing in the window is worth %s nats to a common token, mean over all epochs; ",
        readable(value_of(finding, "advantage"), 3).text);
    if (!isfinite(start) || !isfinite(end))
        say(words, "the first or the last tenth of them has none to compare. ");
    else if (end > FINDINGS_MARGIN)
        say(words,
            "%s over the last tenth, from %s over the first: the model ends above the bound, "
            "and the mean holds what it was before. ",
            readable(end, 3).text, readable(start, 3).text);
    else if (start > FINDINGS_MARGIN)
        say(words, "%s over the first tenth, but %s over the last: it was lost. ",
            readable(start, 3).text, readable(end, 3).text);
    else
        say(words,
            "%s over the first tenth, %s over the last: the model has hardly learnt to repeat what "
            "it has read. ",
            readable(start, 3).text, readable(end, 3).text);
}

static void say_batch(struct words *words, const struct finding *finding,
                      const struct findings_run *run)
{
    const enum spec_mask mask = findings_run_mask(run);
    if (failed(finding, "advantage"))
        say_advantage(words, finding);
    if (!failed(finding, "stability"))
        return;
    if (mask == MASK_COLUMNS)
        say(words,
            "Mask columns keeps %s of %d common tokens, others in every batch: their mean moves "
            "with the choice. ",
            readable(value_of(finding, "kept"), 0).text, run->groups->group[MOST].n);
    else
        say(words,
            "What mask %s leaves out differs from batch to batch, and with it the mean of the "
            "rest. ",
            spec_mask_name(mask));
    if (mask != MASK_WINDOWS)
        say(words, "With mask windows, which keeps %s tokens, ln of the ratio is %s.",
            readable(value_of(finding, "kept_windows"), 0).text,
            readable(value_of(finding, "stability_windows"), 2).text);
}

static double closed_of(const struct finding *finding, const char *id)
{
    return number_of(finding, id)->closed;
}

/* Expected and measured mean p of the common tokens, and the Jensen gap to mean log p. */
static void say_common(struct words *words, const struct finding *finding,
                       const struct findings_run *run)
{
    const double closed = closed_of(finding, "probability"), loss = closed_of(finding, "loss");
    if (!isfinite(closed))
        say(words, "Targets do not follow the counts of the text: mean ln(mean p) ");
    else if (theory_optimum_is_counts(run->spec))
        say(words, "Counting alone puts mean ln(mean p) %s nats above a uniform draw: here it ",
            readable(closed, 2).text);
    else
        say(words,
            "The best model of this loss without context has mean ln(mean p) %s nats above a "
            "uniform draw: here it ",
            readable(closed, 2).text);
    say(words,
        "stands at %s. Mean log p lies below it by the Jensen gap, which grows as context is "
        "learnt: %s at loss %s",
        readable_signed(value_of(finding, "probability"), 2).text,
        readable(value_of(finding, "jensen_gap"), 2).text,
        readable(value_of(finding, "loss"), 2).text);
    if (isfinite(loss))
        say(words, " (without context: %s)", readable(loss, 2).text);
    say(words, ".");
}

static void say_rare(struct words *words, const struct finding *finding,
                     const struct findings_run *run)
{
    if (failed(finding, "rare_change"))
        say(words, "Rare tokens have been targets %s times on average. ",
            readable(value_of(finding, "rare_exposure"), 2).text);
    if (failed(finding, "rare_change") && isfinite(closed_of(finding, "rare_change")))
        say(words,
            "The best model of this loss without context has them %s nats from the untrained "
            "level. ",
            readable(closed_of(finding, "rare_change"), 2).text);
    if (failed(finding, "never_below_rare"))
        say(words,
            "Rare tokens have been targets %s times on average in %lld updates, too little to "
            "part from those that never are. ",
            readable(value_of(finding, "rare_exposure"), 2).text, (long long)run->steps);
    if (failed(finding, "never_change") || failed(finding, "never_below_common"))
        say(words,
            "Nothing has pushed tokens that are never a target down far enough: %lld "
            "updates with learning rate %g.",
            (long long)run->steps, run->spec->train.lr);
}

static void say_embeddings(struct words *words, const struct finding *finding,
                           const struct findings_run *run)
{
    if (failed(finding, "output_moved"))
        say(words,
            "%lld updates with learning rate %g moved the output rows too little beyond what "
            "decay does to them. ",
            (long long)run->steps, run->spec->train.lr);
    if (failed(finding, "input_moved"))
        say(words, "Softmax touches every output row, but an input row gets a gradient only where "
                   "its token is fed: rows never fed change by weight decay alone.");
}

static void say_mass(struct words *words, const struct finding *finding,
                     const struct findings_run *run)
{
    if (failed(finding, "mass"))
        say(words, "The group makes up %s of the text. ",
            readable(theory_mass(&run->groups->group[MOST], run->frequency), 3).text);
    if (failed(finding, "mass") && !theory_follows_counts(run->spec))
        say(words, "Targets do not follow its counts. ");
    else if (failed(finding, "mass") && !theory_optimum_is_counts(run->spec))
        say(words, "The best model of this loss without context gives it %s. ",
            readable(closed_of(finding, "mass"), 3).text);
    if (failed(finding, "linear_difference"))
        say(words, "Rare and unseen tokens differ by %s of the common ones' mean p. ",
            readable(value_of(finding, "linear_difference"), 4).text);
    if (failed(finding, "log_difference"))
        say(words, "Rare and unseen tokens have not parted in log p either.");
}

static void (*const cause_words[FINDINGS_CLAIMS])(struct words *words,
                                                  const struct finding *finding,
                                                  const struct findings_run *run) = {
    say_vocabulary, say_untrained, say_batch, say_common, say_rare, say_embeddings, say_mass,
};

static void say_not_testable(struct words *words, const struct finding *finding,
                             const struct findings_run *run, unsigned good)
{
    static const char *const holds[] = {"the most frequent tokens", "the rarest tokens",
                                        "tokens that never occur"};
    for (int g = 0; g < BUILT_IN; g++)
        if (!(good & 1u << g))
            say(words, "With this selection %s does not hold %s. ", run->groups->group[g].name,
                holds[g]);
    if (run->last == 0)
        say(words, "Nothing has been trained yet. ");
    if (finding->claim == FINDINGS_EMBEDDINGS && isnan(theory_decay(run->spec, 1)))
        say(words, "What decay alone would do has no closed form under this optimiser. ");
    for (int i = 0; i < finding->n; i++)
        if (finding->number[i].verdict == FINDINGS_NOT_TESTABLE && !finding->number[i].measured.n)
            say(words, "No value: %s. ", finding->number[i].what);
}

/* Whatever the verdict: a job that starts from another model has no untrained level. */
static void say_start(struct words *words, const struct finding *finding,
                      const struct findings_run *run)
{
    if (!findings_run_is_untrained_first(run) &&
        (finding->claim == FINDINGS_UNTRAINED || finding->claim == FINDINGS_COMMON))
        say(words, "The job starts from another model, so there is no untrained level. ");
}

/* 1 if two runs share a seed of one kind. Both then draw the same, and the interval does not
 * show how much depends on that draw. */
static int is_shared(const struct findings_run *runs, int n, uint64_t seed(const struct spec *spec))
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (seed(runs[i].spec) == seed(runs[j].spec))
                return 1;
    return 0;
}

static void say_runs(struct words *words, const struct findings_run *runs, int n)
{
    static const struct {
        const char *draws;
        uint64_t (*seed)(const struct spec *spec);
    } kinds[] = {{"initial weights", spec_seed_weights},
                 {"batches", spec_seed_data},
                 {"groups", spec_seed_groups}};
    const char *before = ", with shared ";
    if (n == 1) {
        say(words, "In this run: ");
        return;
    }
    say(words, "Over %d seeds", n);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (is_shared(runs, n, kinds[k].seed)) {
            say(words, "%s%s", before, kinds[k].draws);
            before = " and ";
        }
    say(words, ": ");
}

static void say_undetermined(struct words *words, const struct finding *finding)
{
    int across = 0;
    for (int i = 0; i < finding->n; i++) {
        const struct findings_number *number = &finding->number[i];
        const int is_open = number->verdict == FINDINGS_UNDETERMINED,
                  is_partial = number->measured.n < finding->runs;
        across |= is_open && !is_partial;
        if (is_open && is_partial)
            say(words, "Only %d of %d runs have a value: %s. ", number->measured.n, finding->runs,
                number->what);
    }
    if (across)
        say(words, "The 95 %% interval over %d seeds reaches across a bound.", finding->runs);
}

void findings_words_put(struct finding *finding, const struct findings_run *runs, int n,
                        unsigned good)
{
    struct words words = {finding->measured, 0};
    say_runs(&words, runs, n);
    say_all(&words, finding, measured_words[finding->claim]);
    if (finding->claim == FINDINGS_EMBEDDINGS)
        say_all(&words, finding,
                runs[0].spec->model.tie == TIE_TIED ? "; a tied model has no other input rows"
                                                    : ", input rows by {input_moved:6}");
    say(&words, ".");
    words = (struct words){finding->cause, 0};
    say_start(&words, finding, &runs[0]);
    if (finding->verdict == FINDINGS_NOT_SUPPORTED)
        cause_words[finding->claim](&words, finding, &runs[0]);
    else if (finding->verdict == FINDINGS_NOT_TESTABLE)
        say_not_testable(&words, finding, &runs[0], good);
    else if (finding->verdict == FINDINGS_UNDETERMINED)
        say_undetermined(&words, finding);
    while (words.used && finding->cause[words.used - 1] == ' ')
        finding->cause[--words.used] = '\0';
}
