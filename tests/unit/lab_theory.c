/* Closed forms: the numbers that SCIENCE section 3 states, the untrained level
 * against simulated logits, and the context-free optimum by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "lab/random.h"
#include "lab/theory.h"

static struct spec make_spec(int d_model, double logit_scale, double init_std)
{
    return (struct spec){
        .model = {.d_model = d_model, .logit_scale = logit_scale, .init_std = init_std}};
}

static void untrained_levels(void **state)
{
    (void)state;
    const struct {
        int d_model;
        double scale, std;
        int vocab;
        double want;
    } cases[] = {
        {128, 1, 0.02, 50257, -10.850},
        {768, 1, 0.02, 50257, -10.979},
        {768, 1 / sqrt(768), 0.02, 50257, -10.825},
        {768, 1, 0, 50257, -10.8249},
        {100, 2, 0.05, 256, -5.545 - 0.5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec spec = make_spec(cases[i].d_model, cases[i].scale, cases[i].std);
        assert_true(fabs(theory_untrained(&spec, cases[i].vocab) - cases[i].want) < 6e-4);
        for (int tie = TIE_TIED; tie <= TIE_UNTIED_EQUAL; tie++) {
            spec.model.tie = (enum spec_tie)tie;
            assert_true(fabs(theory_untrained(&spec, cases[i].vocab) - cases[i].want) < 6e-4);
        }
    }
    struct spec spec = make_spec(100, 2, 0.05);
    assert_true(fabs(theory_logit_std(&spec) - 1) < 1e-15);
}

/* Mean log p over a vocabulary whose rows are drawn as the model draws them, h
 * any vector of length sqrt(d). */
static void untrained_level_of_drawn_rows(void **state)
{
    (void)state;
    enum { D = 64, V = 5000 };
    const struct spec spec = make_spec(D, 1, 0.05);
    double sum = 0, partition = 0;
    for (int i = 0; i < V; i++) {
        double logit = 0;
        for (int j = 0; j < D; j++)
            logit += (j % 2 ? 1 : -1) * spec.model.init_std *
                     random_normal(1, RANDOM_WEIGHTS, (uint64_t)(i * D + j));
        sum += logit;
        partition += exp(logit);
    }
    assert_true(fabs(sum / V - log(partition) - theory_untrained(&spec, V)) < 0.02);
}

static void context_free_by_hand(void **state)
{
    (void)state;
    int64_t counts[] = {6, 0, 3, 1};
    const struct frequency frequency = {.vocab = 4, .counts = counts, .total = 10, .types = 3};
    int32_t used[] = {0, 2, 3}, mixed[] = {0, 1};
    const struct group three = {.n = 3, .ids = used}, with_unused = {.n = 2, .ids = mixed};
    const struct group nothing = {.n = 0};
    assert_true(fabs(theory_context_free(&three, &frequency) -
                     (log(0.6) + log(0.3) + log(0.1)) / 3) < 1e-15);
    assert_true(isnan(theory_context_free(&with_unused, &frequency)));
    assert_true(isnan(theory_context_free(&nothing, &frequency)));
}

/* SCIENCE section 5: the hundred most common tokens of Gulliver. */
static void context_free_level_of_gulliver(void **state)
{
    (void)state;
    struct frequency frequency;
    struct groups groups;
    const struct spec spec = {.groups = {.size = 100, .ties = TIES_ID}};
    assert_int_equal(frequency_gulliver(&frequency, NULL), 0);
    assert_int_equal(groups_build(&spec, &frequency, NULL, &groups, NULL), 0);
    assert_true(fabs(theory_context_free(&groups.group[0], &frequency) + 5.85) < 0.01);
    assert_true(fabs(theory_context_free(&groups.group[1], &frequency) +
                     log((double)frequency.total)) < 1e-12);
    assert_true(isnan(theory_context_free(&groups.group[2], &frequency)));
    groups_free(&groups);
    frequency_free(&frequency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untrained_levels),
        cmocka_unit_test(untrained_level_of_drawn_rows),
        cmocka_unit_test(context_free_by_hand),
        cmocka_unit_test(context_free_level_of_gulliver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
