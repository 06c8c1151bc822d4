/* groups: see groups.h. Tokens become candidates (count, tie key, id, position among the
 * used or the unused ids). A selection sorts candidates and takes one end. Finally every
 * group is sorted the same way, most frequent first, so that later code does not depend on
 * the selection. */
#include "lab/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/random.h"

enum { MOST, LEAST, NEVER, BUILT_IN };
static const char *const names[BUILT_IN] = {"most_common", "least_common", "never_used"};

enum { SHOWN_BYTES_MAX = 64 }; /* bytes of a text in a message */

struct candidate {
    int64_t count;
    uint64_t key; /* order among equal counts, then the id */
    int32_t id;
    int32_t position; /* among the used ids, or among the unused ones, ascending */
};

/* Used tokens first, then unused ones, each by ascending id. */
static struct candidate *make_candidates(const struct spec *spec, const struct frequency *frequency)
{
    struct candidate *candidates = calloc((size_t)frequency->vocab, sizeof *candidates);
    if (!candidates)
        return NULL;
    const int seeded =
        spec->groups.selection == SELECTION_FREQUENCY && spec->groups.ties == TIE_BREAK_SEEDED;
    const uint64_t seed = spec_seed_groups(spec);
    int used = 0, unused = 0;
    for (int32_t id = 0; id < frequency->vocab; id++) {
        const int64_t count = frequency->counts[id];
        const int position = count ? used++ : unused++;
        candidates[count ? position : frequency->types + position] = (struct candidate){
            count, seeded ? random_u64(seed, RANDOM_TIES, (uint64_t)id) : 0, id, position};
    }
    return candidates;
}

static int by_tie(const struct candidate *a, const struct candidate *b)
{
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int by_most(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return by_tie(a, b);
}

static int by_least(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return by_tie(a, b);
}

static void take_ids(struct group *group, const struct candidate *candidates)
{
    for (int i = 0; i < group->n; i++)
        group->ids[i] = candidates[i].id;
}

static void select_by_frequency(struct candidate *used, int n_used, struct candidate *unused,
                                int n_unused, struct group *group)
{
    qsort(used, (size_t)n_used, sizeof *used, by_most);
    take_ids(&group[MOST], used);
    qsort(used, (size_t)n_used, sizeof *used, by_least);
    take_ids(&group[LEAST], used);
    qsort(unused, (size_t)n_unused, sizeof *unused, by_most);
    take_ids(&group[NEVER], unused);
}

/* The study's programs indexed one list by another. 2025: positions in the list of used ids
 * served as ids. 2026: ids of unused tokens served as positions in that list. */
static int select_as_published(struct candidate *used, int n_used, struct candidate *unused,
                               enum spec_selection selection, struct group *group, struct err *err)
{
    const int y2025 = selection == SELECTION_PUBLISHED_2025, size = group[NEVER].n;
    for (int i = 0; i < size; i++) {
        const int32_t id = unused[i].id;
        if (!y2025 && id >= n_used)
            return err_field(err, "/groups/selection",
                             "published-2026 takes place %d of the used tokens, this text has %d",
                             id, n_used);
        group[NEVER].ids[i] = y2025 ? id : used[id].id;
    }
    qsort(used, (size_t)n_used, sizeof *used, by_most);
    for (int i = 0; i < size; i++) {
        const struct candidate *most = &used[i], *least = &used[n_used - size + i];
        group[MOST].ids[i] = y2025 ? most->position : most->id;
        group[LEAST].ids[i] = y2025 ? least->position : least->id;
    }
    return 0;
}

/* The limit stands there, not the size: a caller may have asked for the least that is possible,
 * a number that no user sent. */
static int check_size(const struct spec *spec, const struct frequency *frequency, struct err *err)
{
    int bad = 0;
    const int size = spec->groups.size;
    const int unused = frequency->vocab - frequency->types;
    if (size > frequency->types / 2)
        bad = err_field(err, "/groups/size",
                        "at most %d is possible: half of the %d tokens that the text uses",
                        frequency->types / 2, frequency->types);
    if (spec->corpus.vocabulary == VOCABULARY_ALL && size > unused)
        bad = err_field(err, "/groups/size",
                        "at most %d is possible: the tokens that the text never uses", unused);
    return bad;
}

static int select_built_in(const struct spec *spec, const struct frequency *frequency,
                           struct group *group, struct err *err)
{
    if (check_size(spec, frequency, err))
        return -1;
    struct candidate *used = make_candidates(spec, frequency);
    if (!used)
        return err_set(err, ERR_NO_MEMORY, "no memory to rank %d tokens", frequency->vocab);
    const int n_used = frequency->types, n_unused = frequency->vocab - n_used;
    struct candidate *unused = used + n_used;
    int result = 0;
    if (spec->groups.selection == SELECTION_FREQUENCY)
        select_by_frequency(used, n_used, unused, n_unused, group);
    else
        result = select_as_published(used, n_used, unused, spec->groups.selection, group, err);
    free(used);
    return result;
}

/* Bytes of a text to show, without cutting a UTF-8 sequence. */
static int shown_bytes(const char *text)
{
    size_t n = strlen(text);
    if (n <= SHOWN_BYTES_MAX)
        return (int)n;
    n = SHOWN_BYTES_MAX;
    while (n && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return (int)n;
}

static int find_id(const struct spec_token *token, const struct bpe *bpe, const char *pointer,
                   int32_t *id, struct err *err)
{
    if (token->id >= 0) {
        *id = token->id;
        return 0;
    }
    const int shown = shown_bytes(token->text);
    if (!bpe)
        return err_field(err, pointer, "\"%.*s\" needs a tokenizer, and none is open", shown,
                         token->text);
    int32_t *ids;
    size_t n;
    if (bpe_encode(bpe, token->text, strlen(token->text), &ids, &n, err))
        return -1;
    const int32_t first = n ? ids[0] : 0;
    free(ids);
    if (n != 1)
        return err_field(err, pointer, "\"%.*s\" is %zu tokens, not one", shown, token->text, n);
    *id = first;
    return 0;
}

/* Bad fields are collected; any other error ends the search for more. */
static int is_fatal(const struct err *err)
{
    return err && err->code != ERR_NONE && err->code != ERR_INVALID;
}

int32_t groups_counted_id(int32_t id, const int32_t *original, int vocab)
{
    int low = 0, high = vocab;
    if (!original)
        return id < vocab ? id : -1;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (original[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < vocab && original[low] == id ? low : -1;
}

static int select_custom(const struct spec_custom *custom, int index, int vocab,
                         const int32_t *original, const struct bpe *bpe, struct group *group,
                         struct err *err)
{
    int bad = 0;
    for (int i = 0; i < custom->n_tokens && !is_fatal(err); i++) {
        char pointer[ERR_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/groups/custom/%d/tokens/%d", index, i);
        int32_t *id = &group->ids[i];
        *id = -1;
        if (find_id(&custom->tokens[i], bpe, pointer, id, err)) {
            bad = -1;
            continue;
        }
        const int32_t wanted = *id;
        *id = groups_counted_id(wanted, original, vocab);
        if (*id < 0)
            bad = original ? err_field(err, pointer, "the text never uses token %d", wanted)
                           : err_field(err, pointer, "%d is not below the vocabulary's %d", wanted,
                                       vocab);
        for (int j = 0; j < i && *id >= 0; j++)
            if (group->ids[j] == *id)
                bad = err_field(err, pointer, "is token %d, as /groups/custom/%d/tokens/%d is",
                                wanted, index, j);
    }
    return bad;
}

/* ---- doses ---- */

static int is_in(const struct groups *groups, int n_groups, int32_t id)
{
    for (int g = 0; g < n_groups; g++)
        for (int i = 0; i < groups->group[g].n; i++)
            if (groups->group[g].ids[i] == id)
                return 1;
    return 0;
}

/* Never-used tokens outside of the first n_groups groups, in random order. */
static struct candidate *draw_never_used(const struct spec *spec, const struct frequency *frequency,
                                         const struct groups *groups, int n_groups, int *n)
{
    const uint64_t seed = spec_seed_groups(spec);
    struct candidate *drawn = calloc((size_t)frequency->vocab, sizeof *drawn);
    *n = 0;
    for (int32_t id = 0; drawn && id < frequency->vocab; id++)
        if (frequency->counts[id] == 0 && !is_in(groups, n_groups, id))
            drawn[(*n)++] =
                (struct candidate){.key = random_u64(seed, RANDOM_DOSES, (uint64_t)id), .id = id};
    if (drawn)
        qsort(drawn, (size_t)*n, sizeof *drawn, by_most);
    return drawn;
}

static int select_doses(const struct spec *spec, const struct frequency *frequency,
                        struct groups *groups, struct err *err)
{
    const int n_doses = spec->data.inject.n_doses, tokens = spec->data.inject.tokens;
    const int first = groups->n - n_doses;
    int n = 0, result = 0;
    struct candidate *drawn = draw_never_used(spec, frequency, groups, first, &n);
    if (!drawn)
        return err_set(err, ERR_NO_MEMORY, "no memory to draw from %d tokens", frequency->vocab);
    if (tokens > n / n_doses)
        result = err_field(err, "/data/inject/tokens",
                           "%d for each of %d doses are above the %d tokens that the text never "
                           "uses and no group holds",
                           tokens, n_doses, n);
    for (int i = 0; result == 0 && i < tokens * n_doses; i++)
        groups->group[first + i % n_doses].ids[i / n_doses] = drawn[i].id;
    free(drawn);
    return result;
}

/* ---- all groups ---- */

static int by_count_then_id(const void *left, const void *right, void *counts)
{
    const int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    const int64_t *count = counts;
    if (count[a] != count[b])
        return count[a] > count[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Name and size of group g. */
static void describe_group(const struct spec *spec, const struct frequency *frequency, int g,
                           struct group *group)
{
    const int custom = g - BUILT_IN, dose = custom - spec->groups.n_custom;
    const int unused = frequency->vocab - frequency->types;
    if (g < BUILT_IN) {
        snprintf(group->name, sizeof group->name, "%s", names[g]);
        group->n = spec->groups.size;
        if (g == NEVER && spec->corpus.vocabulary == VOCABULARY_USED && group->n > unused)
            group->n = unused;
    } else if (dose < 0) {
        snprintf(group->name, sizeof group->name, "%s", spec->groups.custom[custom].name);
        group->n = spec->groups.custom[custom].n_tokens;
    } else {
        snprintf(group->name, sizeof group->name, "dose_%d", spec->data.inject.doses[dose]);
        group->n = spec->data.inject.tokens;
    }
}

static int alloc_groups(const struct spec *spec, const struct frequency *frequency,
                        struct groups *groups, struct err *err)
{
    const int n_doses = spec->data.inject.tokens ? spec->data.inject.n_doses : 0;
    groups->n = BUILT_IN + spec->groups.n_custom + n_doses;
    for (int g = 0; g < groups->n; g++) {
        struct group *group = &groups->group[g];
        describe_group(spec, frequency, g, group);
        groups->n_tokens += group->n;
        group->ids = calloc((size_t)group->n + 1, sizeof *group->ids);
        if (!group->ids)
            return err_set(err, ERR_NO_MEMORY, "no memory for a group of %d tokens", group->n);
    }
    groups->tokens = calloc((size_t)groups->n_tokens + 1, sizeof *groups->tokens);
    if (!groups->tokens)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d tracked tokens", groups->n_tokens);
    return 0;
}

static void finish_groups(struct groups *groups, const struct frequency *frequency)
{
    int32_t *tokens = groups->tokens;
    for (int g = 0; g < groups->n; g++) {
        struct group *group = &groups->group[g];
        qsort_r(group->ids, (size_t)group->n, sizeof *group->ids, by_count_then_id,
                frequency->counts);
        memcpy(tokens, group->ids, (size_t)group->n * sizeof *tokens);
        tokens += group->n;
    }
}

int groups_build(const struct spec *spec, const struct frequency *frequency,
                 const int32_t *original, const struct bpe *bpe, struct groups *out,
                 struct err *err)
{
    struct groups groups = {0};
    int bad = alloc_groups(spec, frequency, &groups, err);
    if (bad)
        goto out;
    bad = select_built_in(spec, frequency, groups.group, err);
    for (int i = 0; i < spec->groups.n_custom && !is_fatal(err); i++)
        bad |= select_custom(&spec->groups.custom[i], i, frequency->vocab, original, bpe,
                             &groups.group[BUILT_IN + i], err);
    if (!bad && spec->data.inject.tokens)
        bad = select_doses(spec, frequency, &groups, err);
    if (bad)
        goto out;
    finish_groups(&groups, frequency);
    *out = groups;
    return 0;
out:
    groups_free(&groups);
    return -1;
}

void groups_free(struct groups *groups)
{
    if (!groups)
        return;
    for (int g = 0; g < groups->n; g++)
        free(groups->group[g].ids);
    free(groups->tokens);
    *groups = (struct groups){0};
}

int groups_dose(const struct spec *spec, const struct groups *groups, int g)
{
    const int dose = g - (groups->n - spec->data.inject.n_doses);
    return spec->data.inject.tokens && dose >= 0 ? spec->data.inject.doses[dose] : -1;
}
