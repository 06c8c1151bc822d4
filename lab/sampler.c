/* sampler: see sampler.h. sampler_open chooses one of three ways to fill a batch and makes
 * the list of insertions, sorted by step. The only state between batches is a cache: the
 * order of one shuffled pass. Any step can be asked for at any time. */
#include "lab/sampler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lab/random.h"

/* Index of a draw: step << bits + position. */
enum { WINDOW_BITS = 20, TOKEN_BITS = 21 };
_Static_assert(SPEC_BATCH_MAX <= 1 << WINDOW_BITS, "windows of a batch overflow into the step");
_Static_assert(SPEC_POSITIONS_MAX + SPEC_BATCH_MAX <= 1 << TOKEN_BITS,
               "tokens of a batch overflow into the step");

/* A stream of tokens in segments of `segment` tokens; the last one may be shorter. No window
 * leaves a segment. */
struct stream {
    const int32_t *ids;
    int64_t n, segment;
};

/* A token that replaces a target. */
struct insertion {
    int64_t step;
    int32_t place; /* in [batch_size][seq_len] */
    int32_t token;
};

struct sampler {
    void (*fill)(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets);
    int batch_size, seq_len;
    uint64_t seed;
    struct stream text, held_out;
    int64_t starts;       /* of windows in the text */
    int64_t windows;      /* disjoint ones from its first token on */
    int64_t pass_windows; /* of one pass */
    int shuffle_offset;
    int64_t steps_per_epoch;
    int evaluation_windows[2];
    double factor;       /* of the starts in `hits` */
    int64_t n_hits;      /* 0: no oversampling */
    int32_t *hits;       /* [n_hits] ascending */
    int64_t pass;        /* pass whose order is in `order`; -1: none yet */
    int64_t offset;      /* of that pass, below 2 seq_len */
    int32_t *order;      /* [pass_windows] */
    int n_types;         /* of a synthetic text */
    int32_t *types;      /* [n_types] ids that occur */
    int64_t *cumulative; /* [n_types] tokens of this type and those before it */
    int64_t n_insertions;
    struct insertion *insertions; /* by step, then place */
};

/* ---- windows of a stream ---- */

/* Starts of windows, and disjoint windows, of a segment of n tokens. A window has seq_len
 * tokens and one target behind the last. */
static int64_t starts_in(int64_t n, int64_t T)
{
    return n > T ? n - T : 0;
}

static int64_t windows_in(int64_t n, int64_t T)
{
    return n > T ? (n - 1) / T : 0;
}

/* Disjoint windows that fit behind every offset below T, if there is one. A shorter segment has
 * one window, behind as many offsets as it has room for. */
static int64_t shifted_in(int64_t n, int64_t T)
{
    return n >= 2 * T ? n / T - 1 : windows_in(n, T);
}

static int64_t count_in(const struct stream *stream, int64_t T,
                        int64_t (*in_segment)(int64_t n, int64_t T))
{
    if (stream->n == 0)
        return 0;
    return stream->n / stream->segment * in_segment(stream->segment, T) +
           in_segment(stream->n % stream->segment, T);
}

/* Position of the first token of start number i, or of window number i. */
static int64_t start_at(const struct stream *stream, int64_t T, int64_t i)
{
    const int64_t each = starts_in(stream->segment, T);
    return each ? i / each * stream->segment + i % each : i;
}

static int64_t window_at(const struct stream *stream, int64_t T, int64_t i)
{
    const int64_t each = windows_in(stream->segment, T);
    return i / each * stream->segment + i % each * T;
}

/* The same of window number i of a pass with that offset, below 2 T. What is more than the room
 * behind the windows loses T: every place to cut is equally likely, and every token but a
 * segment's first is a target in some passes. */
static int64_t shifted_at(const struct stream *stream, int64_t T, int64_t i, int64_t offset)
{
    const int64_t each = shifted_in(stream->segment, T), from = i / each * stream->segment;
    const int64_t left = stream->n - from;
    const int64_t n = left < stream->segment ? left : stream->segment;
    const int64_t room = n - 1 - shifted_in(n, T) * T;
    const int64_t cuts = room + 1 < T ? room + 1 : T;
    return from + i % each * T + (offset <= room ? offset : offset % cuts);
}

static void copy_window(const struct stream *stream, int64_t offset, int64_t T, int32_t *inputs,
                        int32_t *targets)
{
    memcpy(inputs, stream->ids + offset, (size_t)T * sizeof *inputs);
    memcpy(targets, stream->ids + offset + 1, (size_t)T * sizeof *targets);
}

/* ---- random windows ---- */

/* The j-th start that is not a hit: j + h, with h hits before it. */
static int64_t miss_at(const struct sampler *sampler, int64_t j)
{
    int64_t low = 0, high = sampler->n_hits;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sampler->hits[middle] - middle <= j)
            low = middle + 1;
        else
            high = middle;
    }
    return j + low;
}

static int64_t draw_start(const struct sampler *sampler, uint64_t index)
{
    if (sampler->n_hits == 0)
        return (int64_t)random_below(sampler->seed, RANDOM_WINDOWS, index,
                                     (uint64_t)sampler->starts);
    const int64_t misses = sampler->starts - sampler->n_hits;
    const double weight = (double)misses + sampler->factor * (double)sampler->n_hits;
    const double u = random_uniform(sampler->seed, RANDOM_WINDOWS, index) * weight;
    if (u < (double)misses)
        return miss_at(sampler, (int64_t)u);
    const int64_t hit = (int64_t)((u - (double)misses) / sampler->factor);
    return sampler->hits[hit < sampler->n_hits ? hit : sampler->n_hits - 1];
}

static void fill_random(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    const int T = sampler->seq_len;
    for (int b = 0; b < sampler->batch_size; b++) {
        const uint64_t index = ((uint64_t)step << WINDOW_BITS) + (uint64_t)b;
        const int64_t start = draw_start(sampler, index);
        copy_window(&sampler->text, start_at(&sampler->text, T, start), T, inputs + b * T,
                    targets + b * T);
    }
}

/* List the starts whose window has a token of the group among its targets. */
static int find_hits(struct sampler *sampler, const struct group *group,
                     const struct frequency *frequency, struct err *err)
{
    const int T = sampler->seq_len;
    const struct stream *text = &sampler->text;
    char *is_member = calloc((size_t)frequency->vocab, 1);
    sampler->hits = malloc((size_t)sampler->starts * sizeof *sampler->hits);
    if (!is_member || !sampler->hits) {
        free(is_member);
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld windows",
                       (long long)sampler->starts);
    }
    for (int i = 0; i < group->n; i++)
        is_member[group->ids[i]] = 1;
    int64_t last = -1, seen = 0; /* position of the last member; positions examined */
    for (int64_t start = 0; start < sampler->starts; start++) {
        const int64_t at = start_at(text, T, start);
        for (; seen <= at + T; seen++)
            if (is_member[text->ids[seen]])
                last = seen;
        if (last > at)
            sampler->hits[sampler->n_hits++] = (int32_t)start;
    }
    free(is_member);
    if (sampler->n_hits == 0)
        return err_field(err, "/data/oversample/group", "no window has a target of \"%s\"",
                         group->name);
    return 0;
}

static int open_oversampled(struct sampler *sampler, const struct spec *spec,
                            const struct sampler_text *text, struct err *err)
{
    if (!text->ids)
        return err_field(err, "/data/oversample", "a synthetic text has no windows to choose from");
    sampler->factor = spec->data.oversample_factor;
    for (int g = 0; text->groups && g < text->groups->n; g++)
        if (strcmp(text->groups->group[g].name, spec->data.oversample_group) == 0)
            return find_hits(sampler, &text->groups->group[g], text->frequency, err);
    return 0;
}

/* ---- shuffled passes ---- */

/* Fisher and Yates shuffle (Durstenfeld 1964). */
static void draw_pass(struct sampler *sampler, int64_t pass)
{
    const int64_t n = sampler->pass_windows;
    if (sampler->shuffle_offset)
        sampler->offset = (int64_t)random_below(sampler->seed, RANDOM_OFFSET, (uint64_t)pass,
                                                2 * (uint64_t)sampler->seq_len);
    for (int64_t i = 0; i < n; i++)
        sampler->order[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t index = (uint64_t)pass * (uint64_t)n + (uint64_t)i;
        const uint64_t j = random_below(sampler->seed, RANDOM_PASS, index, (uint64_t)i + 1);
        const int32_t swapped = sampler->order[i];
        sampler->order[i] = sampler->order[j];
        sampler->order[j] = swapped;
    }
    sampler->pass = pass;
}

static void fill_shuffled(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    const int T = sampler->seq_len;
    const struct stream *text = &sampler->text;
    for (int b = 0; b < sampler->batch_size; b++) {
        const int64_t place = step * sampler->batch_size + b;
        const int64_t pass = place / sampler->pass_windows;
        if (pass != sampler->pass)
            draw_pass(sampler, pass);
        const int64_t window = sampler->order[place % sampler->pass_windows];
        copy_window(text,
                    sampler->shuffle_offset ? shifted_at(text, T, window, sampler->offset)
                                            : window_at(text, T, window),
                    T, inputs + b * T, targets + b * T);
    }
}

/* ---- independent draws ---- */

/* Inverse of the cumulative distribution of counts, exact in integers. */
static int32_t draw_token(const struct sampler *sampler, uint64_t seed, enum random_stream stream,
                          uint64_t index)
{
    const uint64_t total = (uint64_t)sampler->cumulative[sampler->n_types - 1];
    const int64_t u = (int64_t)random_below(seed, stream, index, total);
    int low = 0, high = sampler->n_types - 1;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (sampler->cumulative[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return sampler->types[low];
}

static void draw_window(const struct sampler *sampler, uint64_t seed, enum random_stream stream,
                        uint64_t index, int32_t *inputs, int32_t *targets)
{
    int32_t token = draw_token(sampler, seed, stream, index);
    for (int t = 0; t < sampler->seq_len; t++) {
        inputs[t] = token;
        token = draw_token(sampler, seed, stream, ++index);
        targets[t] = token;
    }
}

static void fill_synthetic(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    const int T = sampler->seq_len;
    for (int b = 0; b < sampler->batch_size; b++) {
        const uint64_t index = ((uint64_t)step << TOKEN_BITS) + (uint64_t)b * ((uint64_t)T + 1);
        draw_window(sampler, sampler->seed, RANDOM_TOKENS, index, inputs + b * T, targets + b * T);
    }
}

static int open_synthetic(struct sampler *sampler, const struct frequency *frequency,
                          struct err *err)
{
    sampler->types = calloc((size_t)frequency->types, sizeof *sampler->types);
    sampler->cumulative = calloc((size_t)frequency->types, sizeof *sampler->cumulative);
    if (!sampler->types || !sampler->cumulative)
        return err_set(err, ERR_NO_MEMORY, "no memory to draw from %d tokens", frequency->types);
    int64_t sum = 0;
    for (int32_t id = 0; id < frequency->vocab; id++)
        if (frequency->counts[id]) {
            sum += frequency->counts[id];
            sampler->types[sampler->n_types] = id;
            sampler->cumulative[sampler->n_types++] = sum;
        }
    sampler->fill = fill_synthetic;
    return 0;
}

static int open_shuffled(struct sampler *sampler, struct err *err)
{
    sampler->order = calloc((size_t)sampler->pass_windows, sizeof *sampler->order);
    if (!sampler->order)
        return err_set(err, ERR_NO_MEMORY, "no memory for the order of %lld windows",
                       (long long)sampler->pass_windows);
    sampler->pass = -1;
    sampler->fill = fill_shuffled;
    return 0;
}

/* ---- insertions ---- */

/* A position drawn from all positions of the epochs with insertions. */
struct draw {
    uint64_t place;
    uint32_t exposure; /* number of the insertion */
    uint32_t attempt;  /* earlier draws of this exposure that hit a taken position */
};

static int by_place(const void *left, const void *right)
{
    const struct draw *a = left, *b = right;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a->exposure < b->exposure ? -1 : a->exposure > b->exposure;
}

static void draw_place(struct draw *draw, uint64_t seed, uint64_t places)
{
    const uint64_t index = (uint64_t)draw->exposure << 32 | draw->attempt++;
    draw->place = random_below(seed, RANDOM_INSERTIONS, index, places);
}

/* Draw without replacement: of two exposures at one position the later draws again. */
static void draw_places(struct draw *draws, int64_t n, uint64_t seed, uint64_t places)
{
    for (int64_t i = 0; i < n; i++) {
        draws[i] = (struct draw){.exposure = (uint32_t)i};
        draw_place(&draws[i], seed, places);
    }
    for (int again = 1; again;) {
        qsort(draws, (size_t)n, sizeof *draws, by_place);
        again = 0;
        uint64_t before = draws[0].place;
        for (int64_t i = 1; i < n; i++) {
            const int is_taken = draws[i].place == before;
            before = draws[i].place;
            if (is_taken) {
                draw_place(&draws[i], seed, places);
                again = 1;
            }
        }
    }
}

/* The token of each exposure. All exposures of a token are adjacent. */
static int64_t list_exposures(const struct spec *spec, const struct groups *groups, int32_t *tokens)
{
    int64_t n = 0;
    for (int g = 0; g < groups->n; g++)
        for (int i = 0; i < groups->group[g].n; i++)
            for (int dose = 0; dose < groups_dose(spec, groups, g); dose++, n++)
                if (tokens)
                    tokens[n] = groups->group[g].ids[i];
    return n;
}

static int open_insertions(struct sampler *sampler, const struct spec *spec,
                           const struct groups *groups, struct err *err)
{
    int64_t from, to;
    spec_inject_epochs(spec, &from, &to);
    const int64_t N = (int64_t)sampler->batch_size * sampler->seq_len;
    const int64_t steps = (to - from) * sampler->steps_per_epoch;
    const int64_t n = list_exposures(spec, groups, NULL);
    if (n > SAMPLER_INSERTIONS_MAX || n > steps * N / SAMPLER_INSERTIONS_SHARE)
        return err_field(err, "/data/inject/tokens",
                         "%d make %lld insertions, above %d or one in %d of the %lld positions",
                         spec->data.inject.tokens, (long long)n, SAMPLER_INSERTIONS_MAX,
                         SAMPLER_INSERTIONS_SHARE, (long long)(steps * N));
    struct draw *draws = malloc(((size_t)n + 1) * sizeof *draws);
    int32_t *tokens = malloc(((size_t)n + 1) * sizeof *tokens);
    sampler->insertions = malloc(((size_t)n + 1) * sizeof *sampler->insertions);
    int result = 0;
    if (!draws || !tokens || !sampler->insertions) {
        result = err_set(err, ERR_NO_MEMORY, "no memory for %lld insertions", (long long)n);
        goto out;
    }
    list_exposures(spec, groups, tokens);
    if (n > 0)
        draw_places(draws, n, sampler->seed, (uint64_t)(steps * N));
    for (int64_t i = 0; i < n; i++)
        sampler->insertions[i] = (struct insertion){
            .step = from * sampler->steps_per_epoch + (int64_t)(draws[i].place / (uint64_t)N),
            .place = (int32_t)(draws[i].place % (uint64_t)N),
            .token = tokens[draws[i].exposure]};
    sampler->n_insertions = n;
out:
    free(draws);
    free(tokens);
    return result;
}

/* Index of the first insertion at this step or a later one. */
static int64_t find_insertion(const struct sampler *sampler, int64_t step)
{
    int64_t low = 0, high = sampler->n_insertions;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sampler->insertions[middle].step < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(const struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    for (int64_t i = find_insertion(sampler, step); i < sampler->n_insertions; i++) {
        const struct insertion *insertion = &sampler->insertions[i];
        if (insertion->step != step)
            return;
        targets[insertion->place] = insertion->token;
        if (insertion->place % sampler->seq_len + 1 < sampler->seq_len)
            inputs[insertion->place + 1] = insertion->token;
    }
}

/* ---- evaluation ---- */

static int count_evaluation(struct sampler *sampler, const struct spec *spec, struct err *err)
{
    const int64_t wanted = spec->eval.windows;
    const int64_t held_out = count_in(&sampler->held_out, sampler->seq_len, windows_in);
    if (sampler->text.ids && wanted > sampler->windows)
        return err_field(err, "/eval/windows", "at most %lld is possible: the windows of the text",
                         (long long)sampler->windows);
    sampler->evaluation_windows[SAMPLER_TEXT] = (int)wanted;
    sampler->evaluation_windows[SAMPLER_HELD_OUT] = (int)(wanted < held_out ? wanted : held_out);
    return 0;
}

int sampler_evaluation_windows(const struct sampler *sampler, enum sampler_part part)
{
    return sampler->evaluation_windows[part];
}

static const struct stream *stream_of(const struct sampler *sampler, enum sampler_part part)
{
    return part == SAMPLER_TEXT ? &sampler->text : &sampler->held_out;
}

int64_t sampler_evaluation_start(const struct sampler *sampler, enum sampler_part part, int window)
{
    const struct stream *stream = stream_of(sampler, part);
    const int64_t T = sampler->seq_len, n = sampler->evaluation_windows[part];
    assert(window >= 0 && window < n && stream->ids);
    return window_at(stream, T, window * count_in(stream, T, windows_in) / n);
}

void sampler_evaluation(const struct sampler *sampler, enum sampler_part part, int window,
                        int32_t *inputs, int32_t *targets)
{
    const int64_t T = sampler->seq_len;
    const struct stream *stream = stream_of(sampler, part);
    if (stream->ids)
        copy_window(stream, sampler_evaluation_start(sampler, part, window), T, inputs, targets);
    else
        draw_window(sampler, 0, RANDOM_EVALUATION, (uint64_t)window * ((uint64_t)T + 1), inputs,
                    targets);
}

/* ---- a sampler ---- */

static int open_parts(struct sampler *sampler, const struct spec *spec,
                      const struct sampler_text *text, struct err *err)
{
    int bad = count_evaluation(sampler, spec, err);
    if (!text->ids)
        bad |= open_synthetic(sampler, text->frequency, err);
    else if (spec->train.sampling == SAMPLING_SHUFFLE)
        bad |= open_shuffled(sampler, err);
    if (spec->data.oversample_group[0])
        bad |= open_oversampled(sampler, spec, text, err);
    if (spec->data.inject.tokens && text->groups)
        bad |= open_insertions(sampler, spec, text->groups, err);
    return bad;
}

int sampler_open(const struct spec *spec, const struct sampler_text *text, struct sampler **out,
                 struct err *err)
{
    const int64_t T = spec->model.seq_len, B = spec->train.batch_size;
    const int64_t length = text->ids ? (int64_t)text->n : text->frequency->total;
    const struct stream stream = {text->ids, length,
                                  text->segment ? (int64_t)text->segment : length};
    const int64_t windows = count_in(&stream, T, windows_in);
    const int shifted =
        text->ids && spec->train.sampling == SAMPLING_SHUFFLE && spec->train.shuffle_offset;
    const int64_t pass_windows = shifted ? count_in(&stream, T, shifted_in) : windows;
    if (windows == 0)
        return err_field(err, "/model/seq_len", "must be below the %lld tokens of the text",
                         (long long)length);
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return err_set(err, ERR_NO_MEMORY, "no memory for a sampler");
    *sampler = (struct sampler){
        .fill = fill_random,
        .batch_size = (int)B,
        .seq_len = (int)T,
        .seed = spec_seed_data(spec),
        .text = stream,
        .held_out = {text->held_out, (int64_t)text->n_held_out, SPEC_HOLDOUT_BLOCK},
        .starts = count_in(&stream, T, starts_in),
        .windows = windows,
        .pass_windows = pass_windows,
        .shuffle_offset = shifted,
        .steps_per_epoch =
            spec->train.steps_per_epoch ? spec->train.steps_per_epoch : (pass_windows + B - 1) / B,
    };
    if (open_parts(sampler, spec, text, err)) {
        sampler_close(sampler);
        return -1;
    }
    *out = sampler;
    return 0;
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->order);
    free(sampler->types);
    free(sampler->cumulative);
    free(sampler->hits);
    free(sampler->insertions);
    free(sampler);
}

int64_t sampler_steps_per_epoch(const struct sampler *sampler)
{
    return sampler->steps_per_epoch;
}

void sampler_batch(struct sampler *sampler, int64_t step, int32_t *inputs, int32_t *targets)
{
    sampler->fill(sampler, step, inputs, targets);
    insert(sampler, step, inputs, targets);
}
