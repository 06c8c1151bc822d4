/* spec: one experiment, as the user states it.
 *
 * One table in spec.c parses, validates, defaults and prints every field. The JSON shape is
 * API.md's "A job's spec"; definitions are SCIENCE sections 1-6. A parsed spec is complete:
 * every default is filled in. Printed and parsed again it has the same value. lab/dataset
 * checks everything that needs the text (does the corpus exist, is a group larger than half
 * of the used types, is a custom token one token), with pointers into this same JSON. Owns
 * its strings and lists; pure functions, any thread. */
#ifndef TOKENFATE_SPEC_H
#define TOKENFATE_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"
#include "config/record.h"

/* Limits, each with its reason. */
enum {
    SPEC_BYTES_MAX = 1 << 20, /* a person types a spec: 1 MiB of JSON is plenty */
    SPEC_NAME_MAX = 120,      /* bytes; fits a line of a table */
    SPEC_NOTES_MAX = 8000,    /* bytes; a page */
    SPEC_TAGS_MAX = 16,
    SPEC_TAG_MAX = 40,         /* bytes each */
    SPEC_CORPUS_MAX = 100,     /* bytes of a corpus name; a sha256 has 64 */
    SPEC_EPOCHS_MAX = 1000000, /* with the default groups 3.0 GB of records and tokens */
    SPEC_STEPS_PER_EPOCH_MAX = 1000000,
    SPEC_D_MODEL_MAX = 8192, /* GPT-3 175B has 12288; one box cannot train that */
    SPEC_LAYERS_MAX = 128,
    SPEC_HEADS_MAX = 128,
    SPEC_SEQ_LEN_MAX = 1024, /* GPT-2's context, and the attention kernels' limit */
    SPEC_BATCH_MAX = 4096,
    SPEC_POSITIONS_MAX = 1 << 20, /* batch_size x seq_len; keeps every index in 32 bits */
    SPEC_SNAPSHOTS_MAX = 64,      /* each is a model file on disk */
    SPEC_GROUP_SIZE_MAX = 5000,
    SPEC_CUSTOM_MAX = 5,           /* custom groups: a chart has eight colours, three are taken */
    SPEC_CUSTOM_TOKENS_MAX = 1000, /* tokens of one custom group */
    SPEC_TOKEN_BYTES_MAX = 256,    /* longest text of one token; GPT-2's longest is 128 */
    SPEC_GROUPS_MAX = 3 + SPEC_CUSTOM_MAX, /* custom groups and doses share these slots */
    SPEC_CUTOFFS_MAX = 8,                  /* clusters of an adaptive head; the paper uses 2 to 5 */
    SPEC_DOSES_MAX = SPEC_CUSTOM_MAX,
    SPEC_DOSE_MAX = 1000,          /* insertions of one token */
    SPEC_HOLDOUT_MAX = 1000,       /* one block in a thousand */
    SPEC_HOLDOUT_BLOCK = 1024,     /* tokens of a held-out block */
    SPEC_EVAL_WINDOWS_MAX = 65536, /* more windows than a pass of the largest demo text has */
    SPEC_JOB_ID_MAX = 36           /* bytes of a job's id, a UUID */
};

enum spec_variant { VARIANT_RAW, VARIANT_LF, VARIANT_BODY };
enum spec_vocabulary { VOCABULARY_ALL, VOCABULARY_USED };
enum spec_head { HEAD_FULL, HEAD_ADAPTIVE };
enum spec_tying { TIE_TIED, TIE_UNTIED, TIE_UNTIED_EQUAL };
enum spec_activation { ACTIVATION_GELU, ACTIVATION_GELU_NEW, ACTIVATION_RELU };
enum spec_sampling { SAMPLING_RANDOM, SAMPLING_SHUFFLE };
enum spec_optimizer { OPTIMIZER_SGD, OPTIMIZER_MOMENTUM, OPTIMIZER_ADAM, OPTIMIZER_ADAMW };
enum spec_precision { PRECISION_AUTO, PRECISION_FP32, PRECISION_BF16 };
enum spec_selection { SELECTION_FREQUENCY, SELECTION_PUBLISHED_2025, SELECTION_PUBLISHED_2026 };
enum spec_tie_break { TIE_BREAK_SEEDED, TIE_BREAK_ID };
enum spec_mask { MASK_NONE, MASK_COLUMNS, MASK_WINDOWS, MASK_POSITIONS, MASKS };

/* One member of a custom group: an id, or (id = -1) a text that must be exactly one token of
 * the spec's tokenizer. */
struct spec_token {
    int32_t id;
    char *text;
};

struct spec_custom {
    char name[RECORD_NAME_MAX];
    int n_tokens;
    struct spec_token *tokens;
};

struct spec {
    char *name;  /* <= SPEC_NAME_MAX bytes */
    char *notes; /* <= SPEC_NOTES_MAX bytes */
    int n_tags;
    char *tags[SPEC_TAGS_MAX];
    char init_from[SPEC_JOB_ID_MAX + 1]; /* job whose model this one starts from, "": none */
    struct {
        char id[SPEC_CORPUS_MAX + 1]; /* name, or 64 hex digits of the text's sha256 */
        enum spec_variant variant;
        char tokenizer[16];              /* "gpt2", "cl100k_base", "bytes" */
        enum spec_vocabulary vocabulary; /* used: only types that occur in the text */
        int shuffled;                    /* 1: token stream permuted (seed: groups) */
    } corpus;
    struct {
        int d_model, n_layers, n_heads, seq_len;
        enum spec_tying tie;
        double logit_scale; /* resolved: "inv_sqrt_d" is 1/sqrt(d_model) */
        int logit_scale_inv_sqrt_d;
        enum spec_activation activation;
        int head_bias;
        double init_std, position_std;
        enum spec_head head;
        int n_cutoffs;                 /* 0 with the full head, else at least 1 */
        int cutoffs[SPEC_CUTOFFS_MAX]; /* ascending: first rank of each cluster behind the head */
    } model;
    struct {
        int64_t epochs;
        int64_t steps_per_epoch; /* 0 is "pass": as many as cover the corpus once */
        enum spec_sampling sampling;
        int shuffle_offset; /* 1: every shuffled pass begins at an offset of its own */
        int batch_size;
        enum spec_optimizer optimizer;
        double lr, beta1, beta2, eps, weight_decay, momentum;
        int decay_embeddings;
        double grad_clip; /* 0: off */
        enum spec_precision precision;
        int64_t seed;                                 /* 0 .. 2^53-1 */
        int64_t seed_weights, seed_data, seed_groups; /* -1 (JSON null): follows seed */
        int64_t record_every; /* epochs between two records; 0 and the last have one always */
        int n_snapshots;
        int64_t snapshots[SPEC_SNAPSHOTS_MAX]; /* ascending, unique, each <= epochs */
    } train;
    struct { /* 0: off; SCIENCE section 6 */
        double class_weight, logit_adjustment, label_smoothing, z_loss;
    } loss;
    struct {
        char oversample_group[RECORD_NAME_MAX]; /* "": none */
        double oversample_factor;
        struct {
            int tokens; /* of each dose; 0: none */
            int n_doses;
            int doses[SPEC_DOSES_MAX]; /* ascending, unique */
            int64_t from, to;          /* epochs from <= e < to; -1, -1 (null): all of them */
        } inject;
        int holdout; /* the last of every `holdout` blocks is held out; 0: none */
    } data;
    struct {
        int windows;   /* fixed windows for evaluation; 0: none */
        int64_t every; /* epochs between two evaluations; the last epoch is always evaluated */
    } eval;
    struct {
        int size;
        enum spec_selection selection;
        enum spec_tie_break ties;
        enum spec_mask mask; /* mask of the displayed mean; all four are recorded */
        int n_custom;
        struct spec_custom custom[SPEC_CUSTOM_MAX];
    } groups;
    struct {
        char device[32];     /* "auto", "cpu", "cuda", "cuda:N" */
        int priority;        /* -100 .. 100, larger first */
        int64_t max_seconds; /* 0: no limit */
        int max_attempts;
        int threads; /* compute threads on the CPU, part of what fixes the bits; 0: the setting */
    } resources;
};

/* Parse and validate n bytes of JSON. On success *out is a complete spec that the caller
 * frees. ERR_MALFORMED: not JSON, a duplicate key, not an object. ERR_INVALID with every bad
 * field: unknown field, wrong type, out of range, contradictions between fields; NaN,
 * Infinity or an overflowing number as a field's value is an error of that field. */
int spec_parse(const char *json, size_t n, struct spec **out, struct err *err);

/* A copy of the text (malloc) in which every number that a JSON reader refuses (NaN,
 * Infinity, 1e999, 2^63) is quoted, so that an error can name its field. NULL if there is
 * none, or no memory. */
char *spec_quote_numbers(const char *json, size_t n, size_t *n_quoted);

/* Epochs with insertions, from <= e < to; null is resolved. */
void spec_inject_epochs(const struct spec *spec, int64_t *from, int64_t *to);

/* The defaults (the `gulliver` preset). NULL only without memory. */
struct spec *spec_default(void);

/* Complete JSON of a spec, keys in the table's order, one line; the caller frees. NULL only
 * without memory. spec_parse(spec_print(s)) equals s. */
char *spec_print(const struct spec *spec);

/* Pointers of all fields whose values differ, as a JSON array; the caller frees. name, notes
 * and tags are not compared. */
char *spec_diff(const struct spec *a, const struct spec *b);

/* Pointer and default (JSON) of a field by its dotted path, `train.lr`, or by its last part, `lr`, if
 * no other field ends so. -1: there is none. The texts are static. */
int spec_find(const char *name, const char **pointer, const char **fallback);

void spec_free(struct spec *spec);

/* 1 if the objective is the plain cross-entropy: no remedy of /loss is on. */
int spec_objective_is_loss(const struct spec *spec);

/* Seeds with "follows seed" resolved. */
uint64_t spec_seed_weights(const struct spec *spec);
uint64_t spec_seed_data(const struct spec *spec);
uint64_t spec_seed_groups(const struct spec *spec);

/* JSON word of an enum value, for messages and pages ("columns", "adamw"). */
const char *spec_mask_name(enum spec_mask mask);
const char *spec_precision_name(enum spec_precision precision);
const char *spec_variant_name(enum spec_variant variant);

#endif
