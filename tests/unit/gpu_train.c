/* gpu_train: the epoch loop on a tiny model and the real CPU backend. A run
 * that is stopped or dies after any step, and is resumed from what is on disk,
 * reports the same bits and leaves the same model file as one that was left
 * alone; checkpoints are never ahead of what was sent; snapshots are the
 * weights before their epoch's update; a loss that is not finite names its
 * epoch. All of it holds however many steps are under way. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/hash.h"
#include "config/record.h"
#include "gpu/checkpoint.h"
#include "gpu/cpu/cpu.h"
#include "gpu/train.h"
#include "lab/random.h"

enum {
    V = 71,
    TEXT = 400,
    HELD_OUT = 70,
    EPOCHS_MAX = 24,
    VALUES_MAX = RECORD_SCALARS + 4 * RECORD_FIELDS
};

static struct backend *backend;
static char root[64];

/* What one run, or several that continue each other, reported. */
struct diary {
    int64_t first; /* of the last `started` */
    int64_t next;  /* record expected next */
    int64_t flushed, checkpointed;
    int n_checkpoints, n_alive, n_busy, n_logs;
    int order_at; /* alive call that answers with order, -1: never */
    enum train_order order;
    double values[EPOCHS_MAX + 1][VALUES_MAX];
    float tokens[EPOCHS_MAX + 1][V];
    int known[EPOCHS_MAX + 1];
};

static void on_started(void *self, int64_t first, int64_t bytes)
{
    struct diary *diary = self;
    assert_true(bytes > 0);
    assert_true(first <= diary->next); /* no gap */
    diary->first = diary->next = first;
}

/* A record that comes again must be the one that came before. */
static void on_epoch(void *self, int64_t epoch, const double *values, int n_values,
                     const float *tokens, int n_tokens)
{
    struct diary *diary = self;
    assert_int_equal(epoch, diary->next);
    assert_true(epoch <= EPOCHS_MAX && n_values <= VALUES_MAX && n_tokens <= V);
    if (diary->known[epoch]) {
        assert_true(record_same(diary->values[epoch], values, 3));
        assert_memory_equal(diary->tokens[epoch], tokens, (size_t)n_tokens * sizeof *tokens);
    }
    memcpy(diary->values[epoch], values, (size_t)n_values * sizeof *values);
    memcpy(diary->tokens[epoch], tokens, (size_t)n_tokens * sizeof *tokens);
    diary->known[epoch] = 1;
    diary->next++;
}

static enum train_order on_alive(void *self, int64_t epoch)
{
    struct diary *diary = self;
    assert_int_equal(epoch, diary->next > 0 ? diary->next - 1 : 0);
    return diary->n_alive++ == diary->order_at ? diary->order : TRAIN_GO;
}

/* The step belongs to the record at hand or to one that is on its way. */
static void on_busy(void *self, int64_t epoch)
{
    struct diary *diary = self;
    assert_true(epoch >= diary->next - 1 && epoch < diary->next + backend->slots);
    diary->n_busy++;
}

static void on_flush(void *self)
{
    struct diary *diary = self;
    diary->flushed = diary->next;
}

static void on_checkpointed(void *self, int64_t epoch)
{
    struct diary *diary = self;
    assert_int_equal(epoch, diary->next);
    assert_int_equal(diary->flushed, diary->next);
    diary->checkpointed = epoch;
    diary->n_checkpoints++;
}

static void on_log(void *self, const char *line)
{
    struct diary *diary = self;
    assert_true(line[0] != '\0');
    diary->n_logs++;
}

#define MODEL "\"model\": {\"d_model\": 8, \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 6"
#define GROUPS "\"groups\": {\"size\": 5}"

static struct spec *parse(const char *json)
{
    struct err err = ERR_INIT;
    struct spec *spec = NULL;
    if (spec_parse(json, strlen(json), &spec, &err) != 0)
        fail_msg("%s", err.message);
    return spec;
}

/* A text of 50 of 71 tokens, small ids more often. */
static void make_dataset(const struct spec *spec, struct dataset *dataset)
{
    static int32_t ids[TEXT];
    struct err err = ERR_INIT;
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)random_below(3, RANDOM_TOKENS, (uint64_t)i,
                                       1 + random_below(4, RANDOM_TOKENS, (uint64_t)i, 50));
    *dataset = (struct dataset){.vocab = V, .ids = ids, .n = TEXT};
    if (spec->data.holdout > 0) {
        static int32_t held_out[HELD_OUT];
        static uint8_t words[HELD_OUT]; /* of one token each, seen and unseen in turn */
        for (int i = 0; i < HELD_OUT; i++) {
            held_out[i] = i; /* tokens from 50 on do not occur in the text */
            words[i] = DATASET_WORD_FIRST | DATASET_WORD_LAST |
                       (i % 2 ? DATASET_WORD_UNSEEN : DATASET_WORD_SEEN);
        }
        dataset->held_out_words = words;
        dataset->held_out = held_out;
        dataset->n_held_out = HELD_OUT;
    }
    assert_int_equal(frequency_count(ids, TEXT, V, &dataset->frequency, &err), 0);
    if (groups_build(spec, &dataset->frequency, NULL, NULL, &dataset->groups, &err) != 0)
        fail_msg("%s", err.message);
}

static int run_build(const char *json, const char *dir, int64_t resume, const char *build,
                     struct diary *diary, int64_t *epoch, struct err *err)
{
    const struct train_events events = {diary,   on_started, on_epoch,        on_alive,
                                        on_busy, on_flush,   on_checkpointed, on_log};
    const struct train_options options = {.dir = dir, .build = build, .resume = resume};
    struct dataset dataset;
    struct spec *spec = parse(json);
    make_dataset(spec, &dataset);
    err_clear(err);
    int result = train_run(spec, &dataset, backend, &options, &events, epoch, err);
    groups_free(&dataset.groups);
    frequency_free(&dataset.frequency);
    spec_free(spec);
    return result;
}

static int run(const char *json, const char *dir, int64_t resume, struct diary *diary,
               struct err *err)
{
    int64_t epoch = -1;
    diary->n_alive = 0;
    return run_build(json, dir, resume, "build", diary, &epoch, err);
}

static struct diary *new_diary(void)
{
    struct diary *diary = calloc(1, sizeof *diary);
    assert_non_null(diary);
    diary->order_at = -1;
    return diary;
}

static const char *folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int exists(const char *dir, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s/%s", root, dir, name);
    return access(path, F_OK) == 0;
}

static void assert_same_file(const char *a, const char *b)
{
    char hex[2][HASH_HEX], path[128];
    struct err err = ERR_INIT;
    const char *names[] = {a, b};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        if (hash_sha256_file(path, hex[i], &err) != 0)
            fail_msg("%s", err.message);
    }
    assert_string_equal(hex[0], hex[1]);
}

static void assert_same_diary(const struct diary *a, const struct diary *b)
{
    assert_int_equal(a->next, b->next);
    for (int64_t e = 0; e < a->next; e++) {
        assert_true(a->known[e] && b->known[e]);
        if (!record_same(a->values[e], b->values[e], 3))
            fail_msg("the records of epoch %d differ", (int)e);
        assert_memory_equal(a->tokens[e], b->tokens[e], sizeof a->tokens[e]);
    }
}

static void test_records(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
    const char *json = "{" MODEL "}, \"train\": {\"epochs\": 4, \"steps_per_epoch\": 3,"
                       "\"batch_size\": 2}, " GROUPS "}";
    if (run(json, NULL, 0, diary, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(diary->first, 0);
    assert_int_equal(diary->next, 5);
    assert_int_equal(diary->n_alive, 12);
    assert_int_equal(diary->n_busy, 2 * 13); /* one layer, there and back; 13 gradients */
    assert_int_equal(diary->n_checkpoints, 0);
    assert_true(isnan(diary->values[0][RECORD_TOKENS_PER_SECOND]));
    assert_true(diary->values[1][RECORD_TOKENS_PER_SECOND] > 0);
    for (int g = 0; g < 3; g++) {
        assert_true(diary->values[0][record_at(g, RECORD_OUTPUT_SHIFT)] == 0);
        assert_true(diary->values[0][record_at(g, RECORD_EXPOSURE)] == 0);
        assert_true(diary->values[1][record_at(g, RECORD_OUTPUT_SHIFT)] > 0);
    }
    assert_true(diary->values[4][record_at(0, RECORD_EXPOSURE)] > 0);
    assert_true(diary->values[4][record_at(2, RECORD_EXPOSURE)] == 0);
    assert_true(fabs(diary->values[0][RECORD_LOSS] - log(V)) < 0.1);
    assert_true(diary->values[4][RECORD_LOSS] < diary->values[0][RECORD_LOSS]);
    free(diary);
}

/* Specs that exercise every part of the state: two moments and one and none,
 * an epoch of one step, of several, of a pass in shuffled order, an adaptive head;
 * evaluations, in whose midst a run may end, too. */
static const char *const resumable[] = {
    "{" MODEL "}, \"train\": {\"epochs\": 6, \"batch_size\": 2, \"snapshots\": [0, 3]}, " GROUPS
    "}",
    "{" MODEL ", \"tie\": \"untied\", \"head_bias\": true}, \"train\": {\"epochs\": 3,"
    "\"steps_per_epoch\": 3, \"batch_size\": 2, \"optimizer\": \"momentum\", \"lr\": 0.1,"
    "\"snapshots\": [1]}, " GROUPS "}",
    "{" MODEL "}, \"train\": {\"epochs\": 2, \"steps_per_epoch\": \"pass\", \"sampling\":"
    "\"shuffle\", \"batch_size\": 16, \"optimizer\": \"sgd\", \"lr\": 0.5, \"grad_clip\": "
    "0.5}," GROUPS "}",
    "{" MODEL ", \"tie\": \"untied\", \"head\": \"adaptive\", \"cutoffs\": [9, 30]}, \"train\":"
    "{\"epochs\": 4, \"steps_per_epoch\": 2, \"batch_size\": 2, \"snapshots\": [2]}, \"loss\":"
    "{\"class_weight\": 0.5}, " GROUPS "}",
    "{" MODEL "}, \"train\": {\"epochs\": 3, \"batch_size\": 2}, \"corpus\": {\"variant\":"
    "\"body\"}, \"eval\": {\"windows\": 5, \"every\": 2}, \"data\": {\"holdout\": 3}," GROUPS "}",
};
enum { RESUMABLE = sizeof resumable / sizeof *resumable };
static const char *const last_file[] = {"epoch-0000006.safetensors", "epoch-0000003.safetensors",
                                        "epoch-0000002.safetensors", "epoch-0000004.safetensors",
                                        "epoch-0000003.safetensors"};

/* Ends at every possible step in turn. `lost`: records that were sent, but that
 * the reader lost when it died with the trainer. */
static void end_everywhere(int which, enum train_order order, int lost)
{
    struct err err = ERR_INIT;
    char path[64], name[2][128];
    struct diary *whole = new_diary();
    snprintf(path, sizeof path, "whole%d", which);
    if (run(resumable[which], folder(path), 0, whole, &err) != 0)
        fail_msg("%s", err.message);
    snprintf(name[0], sizeof name[0], "%s/model/%s", path, last_file[which]);
    int steps = whole->n_alive;
    for (int at = 0; at < steps; at++) {
        struct diary *diary = new_diary();
        snprintf(path, sizeof path, "ended%d-%d-%d-%d", which, (int)order, lost, at);
        diary->order_at = at;
        diary->order = order;
        assert_int_equal(run(resumable[which], folder(path), 0, diary, &err), -1);
        assert_int_equal(err.code, ERR_CANCELLED);
        assert_true(order != TRAIN_STOP || diary->n_checkpoints == at + 1);
        assert_int_equal(exists(path, "checkpoint"), diary->n_checkpoints > 0);

        int64_t stored = diary->next > lost ? diary->next - lost : 0;
        diary->order_at = -1;
        diary->next = stored;
        if (run(resumable[which], folder(path), stored, diary, &err) != 0)
            fail_msg("%s", err.message);
        if (order == TRAIN_STOP && lost == 0)
            assert_int_equal(diary->first, stored);
        assert_same_diary(whole, diary);
        assert_false(exists(path, "checkpoint"));
        assert_false(exists(path, "checkpoint.previous"));
        snprintf(name[1], sizeof name[1], "%s/model/%s", path, last_file[which]);
        assert_same_file(name[0], name[1]);
        free(diary);
    }
    free(whole);
}

static void test_stop_and_resume(void **state)
{
    (void)state;
    for (int which = 0; which < RESUMABLE; which++)
        end_everywhere(which, TRAIN_STOP, 0);
}

/* Steps under way at a stop are in the checkpoint, with their records. */
static void test_stop_with_steps_under_way(void **state)
{
    (void)state;
    backend->slots = 3;
    for (int which = 0; which < RESUMABLE; which++)
        end_everywhere(which, TRAIN_STOP, 0);
    backend->slots = 1;
}

/* Two experiments, and a divergence noticed while later steps are under way: the
 * same records, model files and last words at every depth. */
static void test_depth_changes_nothing(void **state)
{
    (void)state;
    static const char diverging[] =
        "{" MODEL "}, \"train\": {\"epochs\": 20, \"steps_per_epoch\": 2, \"batch_size\": 2,"
        "\"optimizer\": \"momentum\", \"lr\": 3e9}, " GROUPS "}";
    const char *const jsons[] = {resumable[0], resumable[1], diverging};
    for (int which = 0; which < 3; which++) {
        struct diary *one = new_diary(), *several;
        struct err err = ERR_INIT;
        struct err other = ERR_INIT;
        char name[2][32];
        int64_t epoch = -1, other_epoch = -1;
        snprintf(name[0], sizeof name[0], "depth%d-1", which);
        const int result = run_build(jsons[which], folder(name[0]), 0, "build", one, &epoch, &err);
        assert_int_equal(result, which < 2 ? 0 : -1);
        assert_true(which < 2 || (err.code == ERR_DIVERGED && epoch >= 1));
        for (int depth = 2; depth <= 4; depth++) {
            several = new_diary();
            backend->slots = depth;
            snprintf(name[1], sizeof name[1], "depth%d-%d", which, depth);
            assert_int_equal(
                run_build(jsons[which], folder(name[1]), 0, "build", several, &other_epoch, &other),
                result);
            assert_int_equal(epoch, other_epoch);
            if (result != 0)
                assert_string_equal(err.message, other.message);
            assert_same_diary(one, several);
            if (which < 2) {
                char path[2][192];
                for (int i = 0; i < 2; i++)
                    snprintf(path[i], sizeof path[i], "%s/model/%s", name[i], last_file[which]);
                assert_same_file(path[0], path[1]);
            }
            free(several);
        }
        backend->slots = 1;
        free(one);
    }
}

/* Cancelling writes nothing: the checkpoint at hand is one step old. */
static void test_die_and_resume(void **state)
{
    (void)state;
    for (int which = 0; which < RESUMABLE; which++)
        for (int lost = 0; lost < 3; lost++)
            end_everywhere(which, TRAIN_CANCEL, lost);
}

/* The trainer died between its last record and its word that the job is done. */
static void test_nothing_left_to_do(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
    const char *last = "complete/model/epoch-0000006.safetensors";
    assert_int_equal(run(resumable[0], folder("complete"), 0, diary, &err), 0);
    assert_int_equal(diary->next, 7);
    diary->n_busy = 0;
    assert_int_equal(run(resumable[0], folder("complete"), 7, diary, &err), 0);
    assert_int_equal(diary->first, 7);
    assert_int_equal(diary->next, 7);
    assert_int_equal(diary->n_busy, 0);

    /* Without the model there is: the run is made again, to the same bits. */
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, last);
    assert_int_equal(rename(path, folder("kept")), 0);
    assert_int_equal(run(resumable[0], folder("complete"), 7, diary, &err), 0);
    assert_int_equal(diary->first, 0);
    assert_same_file("kept", last);
    free(diary);
}

/* Fixed windows are evaluated at every second epoch and the last, with the weights
 * of the record's epoch; doing so changes no bit of the training. */
static void test_evaluation(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *with = new_diary(), *without = new_diary(), *held = new_diary();
#define EVALUATED(more)                                                                            \
    "{" MODEL "}, \"train\": {\"epochs\": 5, \"batch_size\": 2}, " GROUPS more "}"
    const char *evaluated =
        EVALUATED(", \"eval\": {\"windows\": 5, \"every\": 2}, "
                  "\"corpus\": {\"variant\": \"body\"}, \"data\": {\"holdout\": 3}");
    assert_int_equal(run(evaluated, folder("evaluated"), 0, with, &err), 0);
    assert_int_equal(run(EVALUATED(""), folder("plain"), 0, without, &err), 0);
    assert_same_file("evaluated/model/epoch-0000005.safetensors",
                     "plain/model/epoch-0000005.safetensors");
    for (int epoch = 0; epoch <= 5; epoch++) {
        const double *values = with->values[epoch], *plain = without->values[epoch];
        const int due = epoch % 2 == 0 || epoch == 5;
        assert_true(values[RECORD_LOSS] == plain[RECORD_LOSS]);
        assert_int_equal(isfinite(values[RECORD_EVAL_LOSS]), due);
        assert_int_equal(isfinite(values[RECORD_HOLDOUT_LOSS]), due);
        assert_int_equal(isfinite(values[record_at(2, RECORD_EVAL_MEAN_LOGP)]), due);
        assert_int_equal(isfinite(values[RECORD_EVAL_LOGP_BY_COUNT]), due);
        assert_true(isnan(plain[RECORD_EVAL_LOSS]) && isnan(plain[RECORD_EVAL_N_BY_COUNT]));
        double positions = 0;
        for (int class = 0; due && class < RECORD_CLASSES; class ++)
            positions += values[RECORD_EVAL_N_BY_COUNT + class];
        assert_true(positions == (due ? 5 * 6 : 0));
        assert_true(!due || values[RECORD_HOLDOUT_N_BY_COUNT] > 0);
        assert_true(due ? values[RECORD_UNSEEN_WORDS] + values[RECORD_SEEN_WORDS] == 5 * 6
                        : isnan(values[RECORD_UNSEEN_WORDS]));
    }
    assert_true(fabs(with->values[0][RECORD_EVAL_LOSS] - log(V)) < 0.1);
    assert_true(with->values[5][RECORD_EVAL_LOSS] < with->values[0][RECORD_EVAL_LOSS]);
    assert_true(with->values[5][RECORD_HOLDOUT_LOSS] > with->values[5][RECORD_EVAL_LOSS]);

    /* An order is obeyed between two batches of the evaluation before the first step. */
    held->order_at = 1;
    held->order = TRAIN_CANCEL;
    assert_int_equal(run(evaluated, folder("halted"), 0, held, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(held->n_alive, 2);
    assert_int_equal(held->next, 0);
    free(with), free(without), free(held);
}

static void test_snapshots(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
#define SNAPSHOTS(epochs, steps, more)                                                             \
    "{" MODEL "}, \"train\": {\"epochs\": " epochs ", \"steps_per_epoch\": " steps                 \
    ", \"batch_size\": 2" more "}, \"loss\": {\"class_weight\": 0.5, "                             \
    "\"logit_adjustment\": 1, \"label_smoothing\": 0.1, \"z_loss\": 0.001}, " GROUPS "}"
    assert_int_equal(
        run(SNAPSHOTS("6", "1", ", \"snapshots\": [0, 4]"), folder("long"), 0, diary, &err), 0);
    diary->next = 0;
    memset(diary->known, 0, sizeof diary->known);
    assert_int_equal(run(SNAPSHOTS("4", "1", ""), folder("short"), 0, diary, &err), 0);
    diary->next = 0;
    memset(diary->known, 0, sizeof diary->known);
    assert_int_equal(run(SNAPSHOTS("2", "3", ""), folder("coarse"), 0, diary, &err), 0);
    assert_same_file("long/model/epoch-0000004.safetensors",
                     "short/model/epoch-0000004.safetensors");
    /* Fewer records, the same updates: measuring changes no bit. */
    assert_same_file("long/model/epoch-0000006.safetensors",
                     "coarse/model/epoch-0000002.safetensors");
    assert_same_file("long/model/config.json", "coarse/model/config.json");
    assert_same_file("long/model/spectrum-0000004.f32", "short/model/spectrum-0000004.f32");
    assert_true(exists("long", "model/spectrum-0000006.f32"));
    assert_false(exists("long", "model/spectrum-0000001.f32"));
    assert_true(exists("long", "model/epoch-0000000.safetensors"));
    assert_false(exists("long", "model/epoch-0000001.safetensors"));
    free(diary);
}

static void test_divergence(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
    const char *json = "{" MODEL "}, \"train\": {\"epochs\": 20, \"steps_per_epoch\": 4,"
                       "\"batch_size\": 2, \"optimizer\": \"sgd\", \"lr\": 1e30}, " GROUPS "}";
    int64_t epoch = -1;
    assert_int_equal(run_build(json, NULL, 0, "build", diary, &epoch, &err), -1);
    assert_int_equal(err.code, ERR_DIVERGED);
    assert_int_equal(epoch, 0);
    assert_non_null(strstr(err.message, "at epoch 0, after"));
    assert_int_equal(diary->next, 1);
    free(diary);
}

static void test_another_build_does_not_resume(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
    int64_t epoch = -1;
    diary->order_at = 2;
    diary->order = TRAIN_STOP;
    assert_int_equal(run(resumable[0], folder("build"), 0, diary, &err), -1);
    diary->first = -1;
    assert_int_equal(run_build(resumable[0], folder("build"), 3, "other", diary, &epoch, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "other"));
    assert_int_equal(diary->first, 0); /* `started` tells which build this one is */
    assert_true(exists("build", "checkpoint"));
    free(diary);
}

/* On a card, which one it is and how its products are chosen decide the bits. */
static void test_another_card_does_not_resume(void **state)
{
    (void)state;
    const struct backend usual = *backend;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary();
    backend->on_host = 0;
    snprintf(backend->device, sizeof backend->device, "card A");
    diary->order_at = 2;
    diary->order = TRAIN_STOP;
    assert_int_equal(run(resumable[0], folder("card"), 0, diary, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    diary->order_at = -1;
    snprintf(backend->device, sizeof backend->device, "card B");
    assert_int_equal(run(resumable[0], folder("card"), 3, diary, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "card A"));
    assert_non_null(strstr(err.message, "card B"));
    snprintf(backend->device, sizeof backend->device, "card A");
    snprintf(backend->isa, sizeof backend->isa, "sm_90, cuBLASLt 13.0.0, rule 9");
    assert_int_equal(run(resumable[0], folder("card"), 3, diary, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "rule 9"));
    *backend = usual;
    free(diary);
}

/* What `auto` came to is kept: where it would come to something else, nothing goes on. */
static void test_another_precision_does_not_resume(void **state)
{
    (void)state;
    struct backend *const usual = backend;
    struct err err = ERR_INIT;
    struct diary *diary = new_diary(), *refused = new_diary();
    assert_int_equal(cpu_backend_open(1, PRECISION_BF16, &backend, &err), 0);
    diary->order_at = 2;
    diary->order = TRAIN_STOP;
    assert_int_equal(run(resumable[0], folder("precision"), 0, diary, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    diary->order_at = -1;
    struct backend *const bf16 = backend;
    backend = usual;
    assert_int_equal(run(resumable[0], folder("precision"), 3, refused, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "with precision bf16; this trainer has fp32"));
    backend = bf16;
    assert_int_equal(run(resumable[0], folder("precision"), 3, diary, &err), 0);
    backend->close(backend);
    backend = usual;
    free(diary);
    free(refused);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    strcpy(root, "/tmp/gpu_train.XXXXXX");
    return mkdtemp(root) && hash_init(&err) == 0 &&
                   cpu_backend_open(1, PRECISION_FP32, &backend, &err) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    backend->close(backend);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_stop_and_resume),
        cmocka_unit_test(test_stop_with_steps_under_way),
        cmocka_unit_test(test_depth_changes_nothing),
        cmocka_unit_test(test_die_and_resume),
        cmocka_unit_test(test_nothing_left_to_do),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_another_build_does_not_resume),
        cmocka_unit_test(test_another_card_does_not_resume),
        cmocka_unit_test(test_another_precision_does_not_resume),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
