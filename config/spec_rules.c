/* spec_rules: see spec_rules.h. A rule blames the field that a user would change, and quotes
 * its value. */
#include "config/spec_rules.h"

#include <stdio.h>
#include <string.h>

#include "config/pointer.h"
#include "config/spec_kind.h"
#include "config/spec_words.h"

static int check_heads(const struct spec *spec, struct err *err)
{
    int d_model = spec->model.d_model, n_heads = spec->model.n_heads;
    if (d_model % n_heads == 0)
        return 0;
    return err_field(err, "/model/d_model", "%d is not divisible by n_heads %d", d_model, n_heads);
}

static int check_positions(const struct spec *spec, struct err *err)
{
    if ((int64_t)spec->train.batch_size * spec->model.seq_len <= SPEC_POSITIONS_MAX)
        return 0;
    return err_field(err, "/train/batch_size", "%d times seq_len %d is above %d positions",
                     spec->train.batch_size, spec->model.seq_len, SPEC_POSITIONS_MAX);
}

static int check_snapshots(const struct spec *spec, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    for (int i = 0; i < spec->train.n_snapshots; i++) {
        if (spec->train.snapshots[i] <= spec->train.epochs)
            continue;
        pointer_index(pointer, "/train/snapshots", (size_t)i);
        bad = err_field(err, pointer, "%lld is after the last epoch %lld",
                        (long long)spec->train.snapshots[i], (long long)spec->train.epochs);
    }
    return bad;
}

/* An evaluation is part of a record. */
static int check_record_every(const struct spec *spec, struct err *err)
{
    if (!spec->eval.windows || spec->eval.every % spec->train.record_every == 0)
        return 0;
    return err_field(err, "/train/record_every",
                     "%lld leaves out records of epochs that are evaluated: every %lld-th one "
                     "(eval.every), which must be a multiple of it",
                     (long long)spec->train.record_every, (long long)spec->eval.every);
}

/* --- adaptive head ----------------------------------------------------------- */

static int check_cutoffs(const struct spec *spec, struct err *err)
{
    if (spec->model.head == HEAD_ADAPTIVE && spec->model.n_cutoffs == 0)
        return err_field(err, "/model/cutoffs", "[] leaves the adaptive head without a cluster");
    if (spec->model.head == HEAD_FULL && spec->model.n_cutoffs > 0)
        return err_field(err, "/model/cutoffs", "%d cutoffs without \"head\": \"adaptive\"",
                         spec->model.n_cutoffs);
    return 0;
}

/* Clusters of an adaptive head have rows narrower than d_model: no row can be shared or
 * copied. */
static int check_adaptive_tie(const struct spec *spec, struct err *err)
{
    if (spec->model.head != HEAD_ADAPTIVE || spec->model.tie == TIE_UNTIED)
        return 0;
    return err_field(err, "/model/tie",
                     "\"%s\" does not go with the adaptive head: \"untied\" does",
                     spec_words_tying[spec->model.tie]);
}

static int check_adaptive_bias(const struct spec *spec, struct err *err)
{
    if (spec->model.head != HEAD_ADAPTIVE || !spec->model.head_bias)
        return 0;
    return err_field(err, "/model/head_bias", "true does not go with the adaptive head");
}

static int check_adaptive_term(const struct spec *spec, const char *pointer, double value,
                               struct err *err)
{
    if (spec->model.head != HEAD_ADAPTIVE || value == 0)
        return 0;
    char text[EMIT_NUMBER_BYTES];
    emit_format(text, value);
    return err_field(err, pointer, "%s does not go with the adaptive head: it needs all logits",
                     text);
}

static int check_adaptive_adjustment(const struct spec *spec, struct err *err)
{
    return check_adaptive_term(spec, "/loss/logit_adjustment", spec->loss.logit_adjustment, err);
}

static int check_adaptive_smoothing(const struct spec *spec, struct err *err)
{
    return check_adaptive_term(spec, "/loss/label_smoothing", spec->loss.label_smoothing, err);
}

static int check_adaptive_z_loss(const struct spec *spec, struct err *err)
{
    return check_adaptive_term(spec, "/loss/z_loss", spec->loss.z_loss, err);
}

/* --- data ---------------------------------------------------------------------- */

static int check_holdout(const struct spec *spec, struct err *err)
{
    if (spec->data.holdout == 1)
        return err_field(err, "/data/holdout",
                         "1 holds out every block: 0 is none, 2 every second");
    if (spec->data.holdout && spec->corpus.variant != VARIANT_BODY)
        return err_field(err, "/data/holdout", "%d needs variant \"body\", not \"%s\"",
                         spec->data.holdout, spec_words_variant[spec->corpus.variant]);
    return 0;
}

static int check_holdout_windows(const struct spec *spec, struct err *err)
{
    if (!spec->data.holdout || spec->model.seq_len < SPEC_HOLDOUT_BLOCK)
        return 0;
    return err_field(err, "/model/seq_len",
                     "%d and its target do not fit into the blocks of %d that holdout makes",
                     spec->model.seq_len, SPEC_HOLDOUT_BLOCK);
}

static int check_oversample_group(const struct spec *spec, struct err *err)
{
    const char *name = spec->data.oversample_group;
    int known = !name[0] || spec_word(spec_words_group, name) >= 0;
    for (int i = 0; i < spec->groups.n_custom; i++)
        known |= strcmp(spec->groups.custom[i].name, name) == 0;
    if (known)
        return 0;
    return err_field(err, "/data/oversample/group", "\"%s\" is no group of this spec", name);
}

static int check_oversample_sampling(const struct spec *spec, struct err *err)
{
    if (!spec->data.oversample_group[0] || spec->train.sampling == SAMPLING_RANDOM)
        return 0;
    return err_field(err, "/train/sampling",
                     "\"shuffle\" takes every window once, which oversample contradicts");
}

/* Doses become groups: they share names and slots with custom groups. */
static int check_dose_groups(const struct spec *spec, struct err *err)
{
    char name[RECORD_NAME_MAX], pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (!spec->data.inject.tokens)
        return 0;
    if (spec->groups.n_custom + spec->data.inject.n_doses > SPEC_CUSTOM_MAX)
        bad = err_field(err, "/data/inject/doses", "%d doses and %d custom groups are above %d",
                        spec->data.inject.n_doses, spec->groups.n_custom, SPEC_CUSTOM_MAX);
    for (int i = 0; i < spec->groups.n_custom; i++)
        for (int j = 0; j < spec->data.inject.n_doses; j++) {
            snprintf(name, sizeof name, "dose_%d", spec->data.inject.doses[j]);
            if (strcmp(name, spec->groups.custom[i].name) != 0)
                continue;
            snprintf(pointer, sizeof pointer, "/groups/custom/%d/name", i);
            bad = err_field(err, pointer, "\"%s\" is the name that inject gives to a group", name);
        }
    return bad;
}

static int check_inject_epochs(const struct spec *spec, struct err *err)
{
    if (!spec->data.inject.tokens || spec->data.inject.to <= spec->train.epochs)
        return 0;
    return err_field(err, "/data/inject/epochs/1", "%lld is after the last epoch %lld",
                     (long long)spec->data.inject.to, (long long)spec->train.epochs);
}

static int check_inject_vocabulary(const struct spec *spec, struct err *err)
{
    if (!spec->data.inject.tokens || spec->corpus.vocabulary == VOCABULARY_ALL)
        return 0;
    return err_field(err, "/corpus/vocabulary",
                     "\"used\" leaves out the never-used tokens that inject inserts");
}

/* The class weight c^-a is infinite for a token that the text does not have. */
static int check_inject_weight(const struct spec *spec, struct err *err)
{
    if (!spec->data.inject.tokens || spec->loss.class_weight == 0)
        return 0;
    char text[EMIT_NUMBER_BYTES];
    emit_format(text, spec->loss.class_weight);
    return err_field(err, "/loss/class_weight",
                     "%s gives the tokens that inject inserts, whose count is 0, no weight", text);
}

static int check_vocabulary_selection(const struct spec *spec, struct err *err)
{
    if (spec->corpus.vocabulary == VOCABULARY_ALL || spec->groups.selection == SELECTION_FREQUENCY)
        return 0;
    return err_field(err, "/groups/selection",
                     "the published selections need the whole vocabulary, not \"used\"");
}

const struct spec_rule spec_rules[] = {
    {{"/model/d_model", "/model/n_heads"}, check_heads},
    {{"/train/batch_size", "/model/seq_len"}, check_positions},
    {{"/train/epochs", "/train/snapshots"}, check_snapshots},
    {{"/train/record_every", "/eval/every", "/eval/windows"}, check_record_every},
    {{"/model/head", "/model/cutoffs"}, check_cutoffs},
    {{"/model/head", "/model/tie"}, check_adaptive_tie},
    {{"/model/head", "/model/head_bias"}, check_adaptive_bias},
    {{"/model/head", "/loss/logit_adjustment"}, check_adaptive_adjustment},
    {{"/model/head", "/loss/label_smoothing"}, check_adaptive_smoothing},
    {{"/model/head", "/loss/z_loss"}, check_adaptive_z_loss},
    {{"/data/holdout", "/corpus/variant"}, check_holdout},
    {{"/data/holdout", "/model/seq_len"}, check_holdout_windows},
    {{"/data/oversample", "/groups/custom"}, check_oversample_group},
    {{"/data/oversample", "/train/sampling"}, check_oversample_sampling},
    {{"/data/inject", "/groups/custom"}, check_dose_groups},
    {{"/data/inject", "/train/epochs"}, check_inject_epochs},
    {{"/data/inject", "/corpus/vocabulary"}, check_inject_vocabulary},
    {{"/data/inject", "/loss/class_weight"}, check_inject_weight},
    {{"/groups/selection", "/corpus/vocabulary"}, check_vocabulary_selection},
    {{NULL}, NULL},
};
