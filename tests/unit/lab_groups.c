/* Groups: every selection on a small text counted by hand, properties of the
 * seeded draw on Gulliver's counts, and the refusals with their pointers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lab/groups.h"

/* Used ids u = 2 3 5 6 7 9 10 11 with counts 4 9 1 1 9 2 1 3;
 * places by descending count o = 1 4 0 7 5 2 3 6; unused ids 0 1 4 8 12 13. */
static int64_t counts[] = {0, 0, 4, 9, 0, 1, 1, 9, 0, 2, 1, 3, 0, 0};
static const struct frequency small = {
    .vocab = 14, .counts = counts, .total = 30, .types = 8, .once = 3};

static struct spec make_spec(int size, enum spec_selection selection, enum spec_tie_break ties)
{
    return (struct spec){.groups = {.size = size, .selection = selection, .ties = ties},
                         .train = {.seed = 1, .seed_groups = -1}};
}

static struct groups build(const struct spec *spec, const struct frequency *frequency)
{
    struct groups groups;
    struct err err = ERR_INIT;
    if (groups_build(spec, frequency, NULL, NULL, &groups, &err))
        fail_msg("%s", err.message);
    return groups;
}

static void selections_by_hand(void **state)
{
    (void)state;
    static const struct {
        enum spec_selection selection;
        enum spec_tie_break ties;
        int32_t want[3][3];
    } cases[] = {
        {SELECTION_FREQUENCY, TIE_BREAK_ID, {{3, 7, 2}, {5, 6, 10}, {0, 1, 4}}},
        /* positions 1 4 0 and 2 3 6 taken as ids, sorted by their own counts */
        {SELECTION_PUBLISHED_2025, TIE_BREAK_ID, {{0, 1, 4}, {3, 2, 6}, {0, 1, 4}}},
        {SELECTION_PUBLISHED_2025, TIE_BREAK_SEEDED, {{0, 1, 4}, {3, 2, 6}, {0, 1, 4}}},
        /* u[0] u[1] u[4] = 2 3 7 */
        {SELECTION_PUBLISHED_2026, TIE_BREAK_ID, {{3, 7, 2}, {5, 6, 10}, {3, 7, 2}}},
        {SELECTION_PUBLISHED_2026, TIE_BREAK_SEEDED, {{3, 7, 2}, {5, 6, 10}, {3, 7, 2}}},
    };
    static const char *const names[] = {"most_common", "least_common", "never_used"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(3, cases[i].selection, cases[i].ties);
        struct groups groups = build(&spec, &small);
        assert_int_equal(groups.n, 3);
        assert_int_equal(groups.n_tokens, 9);
        for (int g = 0; g < 3; g++) {
            assert_string_equal(groups.group[g].name, names[g]);
            assert_int_equal(groups.group[g].n, 3);
            assert_memory_equal(groups.group[g].ids, cases[i].want[g], sizeof cases[i].want[g]);
            assert_memory_equal(groups.tokens + 3 * g, cases[i].want[g], sizeof cases[i].want[g]);
        }
        groups_free(&groups);
    }
}

static void seeded_ties_stay_among_equals(void **state)
{
    (void)state;
    int differs = 0;
    for (int seed = 0; seed < 50; seed++) {
        struct spec spec = make_spec(2, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
        spec.train.seed_groups = seed;
        struct groups groups = build(&spec, &small);
        const int32_t most[] = {3, 7};
        assert_memory_equal(groups.group[0].ids, most, sizeof most);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(counts[groups.group[1].ids[i]], 1);
            assert_int_equal(counts[groups.group[2].ids[i]], 0);
        }
        differs |= groups.group[1].ids[1] == 10 && groups.group[2].ids[1] == 13;
        groups_free(&groups);
    }
    assert_true(differs);
}

static int same(const struct groups *a, const struct groups *b)
{
    return memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens) == 0;
}

static void gulliver_groups(void **state)
{
    (void)state;
    struct frequency f;
    struct err err = ERR_INIT;
    assert_int_equal(frequency_gulliver(&f, &err), 0);
    struct spec spec = make_spec(100, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
    struct groups one = build(&spec, &f), again = build(&spec, &f);
    assert_true(same(&one, &again));
    spec.train.seed = 2;
    struct groups two = build(&spec, &f);
    assert_false(same(&one, &two));
    spec.train.seed_groups = 1;
    struct groups three = build(&spec, &f);
    assert_true(same(&one, &three));

    char *seen = calloc((size_t)f.vocab, 1);
    assert_non_null(seen);
    int from_upper_half = 0;
    for (int g = 0; g < 3; g++)
        for (int i = 0; i < 100; i++) {
            const int32_t id = one.group[g].ids[i];
            assert_false(seen[id]);
            seen[id] = 1;
            if (i)
                assert_true(f.counts[one.group[g].ids[i - 1]] >= f.counts[id]);
            assert_true(g == 0 ? f.counts[id] > 100 : f.counts[id] == (g == 1));
            from_upper_half += g == 2 && id >= f.vocab / 2;
        }
    assert_true(from_upper_half > 25 && from_upper_half < 85); /* the draw is not by id */
    for (int32_t id = 0; id < f.vocab; id++)
        if (!seen[id])
            assert_true(f.counts[id] <= f.counts[one.group[0].ids[99]]);
    free(seen);
    groups_free(&one);
    groups_free(&again);
    groups_free(&two);
    groups_free(&three);
    frequency_free(&f);
}

static void published_groups_are_never_drawn(void **state)
{
    (void)state;
    struct frequency f;
    struct err err = ERR_INIT;
    assert_int_equal(frequency_gulliver(&f, &err), 0);
    for (int selection = SELECTION_PUBLISHED_2025; selection <= SELECTION_PUBLISHED_2026;
         selection++) {
        struct spec spec = make_spec(100, (enum spec_selection)selection, TIE_BREAK_SEEDED);
        struct groups drawn = build(&spec, &f);
        spec.groups.ties = TIE_BREAK_ID;
        struct groups ordered = build(&spec, &f);
        assert_true(same(&drawn, &ordered));
        groups_free(&drawn);
        groups_free(&ordered);
    }
    frequency_free(&f);
}

static void custom_groups_by_id(void **state)
{
    (void)state;
    struct spec_token tokens[] = {{6, NULL}, {0, NULL}, {7, NULL}, {3, NULL}};
    struct spec spec = make_spec(2, SELECTION_FREQUENCY, TIE_BREAK_ID);
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "mine", .n_tokens = 4, .tokens = tokens};
    struct groups groups = build(&spec, &small);
    const int32_t want[] = {3, 7, 6, 0}, all[] = {3, 7, 5, 6, 0, 1, 3, 7, 6, 0};
    assert_int_equal(groups.n, 4);
    assert_string_equal(groups.group[3].name, "mine");
    assert_int_equal(groups.group[3].n, 4);
    assert_memory_equal(groups.group[3].ids, want, sizeof want);
    assert_int_equal(groups.n_tokens, 10);
    assert_memory_equal(groups.tokens, all, sizeof all);
    groups_free(&groups);
}

static void custom_groups_by_text(void **state)
{
    (void)state;
    const char *share = getenv("TOKENFATE_SHARE");
    struct bpe *bpe;
    struct frequency f;
    struct err err = ERR_INIT;
    if (bpe_open(share ? share : "build/share", "gpt2", &bpe, &err))
        fail_msg("%s", err.message);
    assert_int_equal(frequency_gulliver(&f, &err), 0);
    char the[] = " the", comma[] = ",", long_text[200], many[] = "Lemuel Gulliver", none[] = "";
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text + 63, "\xc3\xa9", 2);
    long_text[sizeof long_text - 1] = '\0';
    struct spec_token tokens[] = {{-1, the}, {-1, comma}, {12, NULL}};
    struct spec spec = make_spec(100, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "mine", .n_tokens = 3, .tokens = tokens};
    struct groups groups;
    assert_int_equal(groups_build(&spec, &f, NULL, bpe, &groups, &err), 0);
    const int32_t want[] = {11, 262, 12};
    assert_memory_equal(groups.group[3].ids, want, sizeof want);
    groups_free(&groups);

    struct spec_token bad[] = {{-1, many}, {-1, the}, {262, NULL}, {-1, none}, {-1, long_text}};
    spec.groups.custom[0].tokens = bad;
    spec.groups.custom[0].n_tokens = 5;
    assert_int_equal(groups_build(&spec, &f, NULL, bpe, &groups, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(err.n_fields, 4);
    static const int places[] = {0, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        char pointer[64];
        snprintf(pointer, sizeof pointer, "/groups/custom/0/tokens/%d", places[i]);
        assert_string_equal(err.fields[i].pointer, pointer);
    }
    assert_non_null(strstr(err.fields[0].detail, "tokens, not one"));
    assert_non_null(strstr(err.fields[3].detail, "xx\" is")); /* the cut character is left out */
    frequency_free(&f);
    bpe_close(bpe);
}

static void refusals(void **state)
{
    (void)state;
    static char word[] = "word";
    static const struct {
        int size;
        enum spec_selection selection;
        struct spec_token token;
        const char *pointer, *detail;
    } cases[] = {
        {5,
         SELECTION_FREQUENCY,
         {0, NULL},
         "/groups/size",
         "at most 4 is possible: half of the 8 tokens"},
        {4, SELECTION_PUBLISHED_2026, {0, NULL}, "/groups/selection", "place 8 of the used"},
        {2, SELECTION_FREQUENCY, {14, NULL}, "/groups/custom/0/tokens/0", "14 is not below"},
        {2, SELECTION_FREQUENCY, {-1, word}, "/groups/custom/0/tokens/0", "\"word\" needs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(cases[i].size, cases[i].selection, TIE_BREAK_ID);
        struct spec_token token = cases[i].token;
        spec.groups.n_custom = 1;
        spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 1, .tokens = &token};
        struct groups groups = {.n = 99};
        struct err err = ERR_INIT;
        assert_int_equal(groups_build(&spec, &small, NULL, NULL, &groups, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(err.n_fields, 1);
        assert_string_equal(err.fields[0].pointer, cases[i].pointer);
        if (!strstr(err.fields[0].detail, cases[i].detail))
            fail_msg("%s", err.fields[0].detail);
        assert_int_equal(groups.n, 99);
    }
}

static void every_bad_field_at_once(void **state)
{
    (void)state;
    /* Four used tokens and no unused one. */
    int64_t few[] = {1, 2, 3, 4};
    const struct frequency full = {.vocab = 4, .counts = few, .total = 10, .types = 4, .once = 1};
    struct spec_token tokens[] = {{1, NULL}, {4, NULL}, {1, NULL}};
    struct spec spec = make_spec(3, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 3, .tokens = tokens};
    static const char *const pointers[] = {
        "/groups/size", "/groups/size", "/groups/custom/0/tokens/1", "/groups/custom/0/tokens/2"};
    struct groups groups;
    struct err err = ERR_INIT;
    assert_int_equal(groups_build(&spec, &full, NULL, NULL, &groups, &err), -1);
    assert_int_equal(err.n_fields, 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(err.fields[i].pointer, pointers[i]);
    assert_int_equal(groups_build(&spec, &full, NULL, NULL, &groups, NULL), -1);
}

/* Doses: never-used tokens that no other group holds, all different, as many
 * for each dose, another draw for another seed; the other groups stay the same. */
static void doses(void **state)
{
    (void)state;
    enum { PER = 20 };
    struct frequency f;
    struct err err = ERR_INIT;
    assert_int_equal(frequency_gulliver(&f, &err), 0);
    struct spec_token token = {.id = 50000}; /* never used in Gulliver, and in a custom group */
    assert_int_equal(f.counts[token.id], 0);
    struct spec spec = make_spec(100, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
    spec.groups.n_custom = 1;
    spec.groups.custom[0] = (struct spec_custom){.name = "c", .n_tokens = 1, .tokens = &token};
    struct groups plain = build(&spec, &f);
    spec.data.inject.tokens = PER;
    spec.data.inject.n_doses = 3;
    memcpy(spec.data.inject.doses, (const int[]){0, 2, 8}, 3 * sizeof(int));
    struct groups with = build(&spec, &f);
    assert_int_equal(with.n, 7);
    assert_int_equal(with.n_tokens, 301 + 3 * PER);
    assert_memory_equal(with.tokens, plain.tokens, 301 * sizeof *with.tokens);
    static const char *const names[] = {"dose_0", "dose_2", "dose_8"};
    static char seen[50257];
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 301; i++)
        seen[with.tokens[i]] = 1;
    for (int g = 0; g < 7; g++)
        assert_int_equal(groups_dose(&spec, &with, g), g < 4 ? -1 : spec.data.inject.doses[g - 4]);
    for (int g = 4; g < 7; g++) {
        assert_string_equal(with.group[g].name, names[g - 4]);
        assert_int_equal(with.group[g].n, PER);
        for (int i = 0; i < PER; i++) {
            assert_int_equal(f.counts[with.group[g].ids[i]], 0);
            assert_int_equal(seen[with.group[g].ids[i]]++, 0);
        }
    }
    spec.train.seed_groups = 2;
    struct groups other = build(&spec, &f);
    int32_t kept = 0;
    for (int i = 301; i < other.n_tokens; i++)
        kept += seen[other.tokens[i]];
    assert_true(kept < PER); /* of 60 out of 40,000 */
    groups_free(&plain);
    groups_free(&with);
    groups_free(&other);
    frequency_free(&f);
}

/* small has six unused tokens: two are never_used, four are left. */
static void doses_must_find_tokens(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct groups groups;
    struct spec spec = make_spec(2, SELECTION_FREQUENCY, TIE_BREAK_SEEDED);
    spec.data.inject.n_doses = 2;
    spec.data.inject.tokens = 2;
    spec.data.inject.doses[1] = 1;
    groups = build(&spec, &small);
    assert_int_equal(groups.n_tokens, 10);
    groups_free(&groups);
    spec.data.inject.tokens = 3;
    assert_int_equal(groups_build(&spec, &small, NULL, NULL, &groups, &err), -1);
    assert_int_equal(err.n_fields, 1);
    assert_string_equal(err.fields[0].pointer, "/data/inject/tokens");
    assert_string_equal(err.fields[0].detail, "3 for each of 2 doses are above the 4 tokens that "
                                              "the text never uses and no group holds");
}

/* With the pruned vocabulary never_used holds the unused tokens of the vocabulary. */
static void pruned_never_used(void **state)
{
    (void)state;
    int64_t few[] = {3, 0, 2, 1, 5, 0, 7, 9};
    for (int unused = 0; unused <= 2; unused++) {
        const struct frequency f = {
            .vocab = 8, .counts = few, .total = 27, .types = 8 - unused, .once = 1};
        few[1] = unused > 0 ? 0 : 4;
        few[5] = unused > 1 ? 0 : 4;
        struct spec spec = make_spec(3, SELECTION_FREQUENCY, TIE_BREAK_ID);
        spec.corpus.vocabulary = VOCABULARY_USED;
        struct groups groups = build(&spec, &f);
        assert_string_equal(groups.group[2].name, "never_used");
        assert_int_equal(groups.group[2].n, unused);
        assert_int_equal(groups.n_tokens, 6 + unused);
        for (int i = 0; i < unused; i++)
            assert_int_equal(few[groups.group[2].ids[i]], 0);
        groups_free(&groups);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_by_hand),
        cmocka_unit_test(seeded_ties_stay_among_equals),
        cmocka_unit_test(gulliver_groups),
        cmocka_unit_test(published_groups_are_never_drawn),
        cmocka_unit_test(custom_groups_by_id),
        cmocka_unit_test(custom_groups_by_text),
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_bad_field_at_once),
        cmocka_unit_test(doses),
        cmocka_unit_test(doses_must_find_tokens),
        cmocka_unit_test(pruned_never_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
