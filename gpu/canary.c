/* canary: see canary.h.
 *
 * Measures. Every error is relative, so that one bound serves all: 0.05 where the device multiplies
 * bfloat16, 1e-3 where float32.
 *   losses    L2 of the differences of all positions, by the L2 of the losses around their mean. The
 *             mean is no part of the size: at the start it is near log V whatever the model does.
 *   position  the loss that is furthest off, by their spread, if it stands out from the rounding of
 *             the others: a wrong row of a product
 *   gradient  L2 of the differences in one tensor, by the L2 of the tensor
 *   row       the row of a matrix that is furthest off, by PEAK times its size and the usual size
 *
 * Bounds. A number of ACT is rounded by at most u = 2^-9 of itself in bfloat16, 2^-24 in float32,
 * and a sum of K products in float32 by about sqrt(K) 2^-24. About 16 arrays of a layer are rounded
 * one after the other, forward and backward, and their errors are independent: the gradient of L
 * layers is off by about sqrt(16 (L + 1)) u / sqrt(12) of itself, 0.005 in bfloat16 for 4 layers,
 * 0.008 for 12. Over thousands of numbers an L2 error hardly scatters, and the largest of a million
 * normal numbers is five times their root mean square: no chance takes a correct device to a bound.
 * Measured on the processor layer (tests/lib/cuda_host.h), what is furthest off, for `gulliver` in
 * bfloat16 where nothing else stands:
 *
 *                                    losses     position   gradient   row
 *   correct                          0.008      0.016      0.008      0.005
 *   correct, after 300 updates       0.0008     0.003      0.009      0.004
 *   correct, in float32              3e-6       4e-6       3e-6       9e-7
 *   correct, a window of the study   0.011      0.018      -          -
 *   attention gives zeros            0.69       -          1.0        0.9
 *   one of four layers' does         0.30       -          1.0        0.37
 *   the same in the study            0.84       -          -          -
 *   one row of one product is zero   0.06-0.13  0.04-0.15  0.10-0.17  0.11-0.13
 *   a tensor's gradient is zero      -          -          1.0        0.19
 *   a row of a gradient is zero      -          -          0.04       0.16
 *
 * The model fails where numbers cancel: near a minimum the gradients of the positions add up to
 * almost nothing, and p of a target is almost 1, while their rounding stays. So what is beyond a
 * bound is measured again: the processor computes the batch with weights that are each moved by u,
 * up or down, and as if p were off by its own rounding. What that moves is the rounding of this very
 * batch (the errors above are 0.7 to 2.5 times it), and a device may be off by DOUBT times as
 * much. */
#include "gpu/canary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "gpu/device.h"
#include "gpu/model_lm_head.h"
#include "gpu/model_state.h"

#define BOUND_BF16 0.05
#define BOUND_FP32 1e-3
#define UNIT_BF16 0x1p-9
#define UNIT_FP32 0x1p-20 /* beside the weights, sums of thousands of terms are rounded */
#define ROUNDED_P 0x1p-17 /* by which exp(logit - lse) is off: both are float32, and tens */

/* Speed of a thread of an ordinary processor (AVX2; docs/cpu-report.md), and of the passes over all
 * parameters: copied, moved, compared. */
#define OPERATIONS_A_SECOND 50e9
#define PARAMETERS_A_SECOND 80e6

enum {
    PEAK = 5,    /* a row may be off by so many times the bound of its tensor */
    STANDS = 10, /* a position stands out if it is off by so many times the root mean square */
    DOUBT = 8,   /* times the rounding of this batch */
    ULPS = 8     /* by which a loss itself may be off: a difference of two sums in float32 */
};

/* Measures: two of the losses, then two of each tensor: gradient and row. */
enum { LOSSES, POSITION, OF_TENSORS };

/* One side's numbers. */
struct side {
    double *losses;  /* [n] */
    float *gradient; /* [n_parameters] NULL: not wanted */
};

struct canary {
    const struct canary_job *job;
    const struct shapes *shapes;
    struct backend *processor;
    struct spec spec; /* the job's, as the processor computes it; borrowed */
    struct groups groups;
    struct model *model; /* on the processor */
    int n, has_gradient; /* positions that are compared */
    double bound, unit;
    int n_measures;
    double *errors, *roundings; /* [n_measures] of the device; of this batch */
    struct side device, reference, moved;
};

/* ---- opening ---- */

/* Seconds for a batch of the job's on this many threads. */
static double seconds_for(const struct spec *spec, const struct shapes *shapes, int threads)
{
    const double N = (double)spec->train.batch_size * spec->model.seq_len,
                 n = (double)shapes->n_parameters,
                 attention = 2.0 * spec->model.n_layers * spec->model.seq_len * spec->model.d_model;
    return 6 * N * (n + attention) / (OPERATIONS_A_SECOND * threads) + n / PARAMETERS_A_SECOND;
}

static int allocate_side(const struct canary *canary, struct side *side)
{
    const size_t n = (size_t)canary->shapes->n_parameters;
    side->losses = calloc((size_t)canary->n + 1, sizeof *side->losses);
    side->gradient = canary->has_gradient ? malloc(n * sizeof *side->gradient) : NULL;
    return side->losses && (side->gradient || !canary->has_gradient) ? 0 : -1;
}

static void free_side(struct side *side)
{
    free(side->losses);
    free(side->gradient);
}

static void close_canary(struct canary *canary)
{
    model_close(canary->model);
    if (canary->processor)
        canary->processor->close(canary->processor);
    free_side(&canary->device);
    free_side(&canary->reference);
    free_side(&canary->moved);
    free(canary->errors);
    free(canary->roundings);
}

/* The same experiment in float32, without what only training needs. */
static void describe(struct canary *canary)
{
    const struct canary_job *job = canary->job;
    canary->has_gradient =
        seconds_for(job->spec, canary->shapes, canary->processor->threads) <= job->seconds;
    canary->spec = *job->spec;
    canary->spec.train.precision = PRECISION_FP32;
    canary->spec.train.optimizer = OPTIMIZER_SGD; /* no moments */
    canary->spec.train.grad_clip = 0;
    if (!canary->has_gradient)
        canary->spec.train.batch_size = 1;
    canary->n = canary->spec.train.batch_size * job->spec->model.seq_len;
    const int is_bf16 = job->backend->precision == PRECISION_BF16;
    canary->bound = is_bf16 ? BOUND_BF16 : BOUND_FP32;
    canary->unit = is_bf16 ? UNIT_BF16 : UNIT_FP32;
    canary->n_measures = OF_TENSORS + 2 * canary->shapes->n_tensors;
}

static int open_canary(struct canary *canary, struct err *err)
{
    const struct canary_job *job = canary->job;
    if (device_open("cpu", job->threads, PRECISION_FP32, "", &canary->processor, err) != 0)
        return -1;
    describe(canary);
    canary->errors = calloc((size_t)canary->n_measures, sizeof *canary->errors);
    canary->roundings = calloc((size_t)canary->n_measures, sizeof *canary->roundings);
    if (!canary->errors || !canary->roundings || allocate_side(canary, &canary->device) != 0 ||
        allocate_side(canary, &canary->reference) != 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for two gradients");
    if (model_open(&canary->spec, job->dataset->vocab, &canary->groups, canary->processor,
                   &canary->model, err) != 0 ||
        model_set_frequency(canary->model, &job->dataset->frequency, err) != 0 ||
        (model_order(job->model) &&
         model_set_order(canary->model, model_order(job->model), err) != 0))
        return -1;
    model_on_progress(canary->model, job->progress, job->self);
    return 0;
}

/* ---- computing ---- */

static int compute(const struct canary *canary, struct model *model, const int32_t *targets,
                   struct side *side, struct err *err)
{
    struct model_result result;
    if (model_submit(model, canary->has_gradient ? MODEL_GRADIENT : MODEL_FORWARD,
                     canary->job->inputs, targets, 0, err) != 0 ||
        model_collect(model, &result, err) != 0)
        return -1;
    memcpy(side->losses, result.losses, (size_t)canary->n * sizeof *side->losses);
    return side->gradient ? model_download(model, MODEL_GRADIENTS, side->gradient, err) : 0;
}

/* Each weight moves up or down as a hash of its number says (Knuth 1998, section 6.4). */
static void move_weights(const struct canary *canary)
{
    const double unit = canary->unit;
    for (int64_t i = 0; i < canary->shapes->n_parameters; i++) {
        const int is_up = (uint32_t)i * 2654435769u >> 31 != 0;
        canary->job->parameters[i] *= (float)(is_up ? 1 + unit : 1 - unit);
    }
}

/* ---- measuring ---- */

static double sum_squares(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double difference = (double)x[i] - (y ? (double)y[i] : 0);
        sum += difference * difference;
    }
    return sum;
}

/* NaN counts as the largest error. */
static double larger(double a, double b)
{
    return a >= b ? a : b;
}

static double ratio(double error, double size)
{
    return error == 0 ? 0 : error / size;
}

static void measure_losses(const struct canary *canary, const struct side *x, const struct side *y,
                           double *errors)
{
    const int n = canary->n;
    double sum = 0, squares = 0, off = 0, peak = 0;
    for (int i = 0; i < n; i++) {
        sum += y->losses[i];
        squares += y->losses[i] * y->losses[i];
        off += pow(x->losses[i] - y->losses[i], 2);
    }
    const double around = fmax(squares - sum * sum / n, 0),
                 ulps = ULPS * 0x1p-24 * sqrt(squares) / canary->bound, size = sqrt(around) + ulps;
    for (int i = 0; i < n; i++) {
        const double own = pow(x->losses[i] - y->losses[i], 2),
                     others = n > 1 ? sqrt(fmax(off - own, 0) / (n - 1)) : 0;
        const double stands = STANDS * others / canary->bound;
        peak = larger(ratio(sqrt(own), fmax(size / sqrt(n), stands)), peak);
    }
    errors[LOSSES] = ratio(sqrt(off), size);
    errors[POSITION] = peak;
}

/* Padding is no number of the model. */
static void measure_tensor(const struct shapes_tensor *tensor, const float *x, const float *y,
                           double least, double errors[2])
{
    const int64_t rows = tensor->file_rows, cols = tensor->cols;
    const double size = sqrt(sum_squares(y, NULL, rows * cols)) + least,
                 usual = size / sqrt((double)rows);
    double off = 0, peak = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double own = sum_squares(x + r * cols, y + r * cols, cols);
        off += own;
        const double of_row = sqrt(sum_squares(y + r * cols, NULL, cols));
        peak = larger(ratio(sqrt(own), usual + PEAK * of_row), peak);
    }
    errors[0] = ratio(sqrt(off), size);
    errors[1] = peak;
}

/* L2 of all numbers of the model. */
static double size_of(const struct shapes *shapes, const float *gradient)
{
    double squares = 0;
    for (int t = 0; t < shapes->n_tensors; t++) {
        const struct shapes_tensor *tensor = &shapes->tensor[t];
        squares += sum_squares(gradient + tensor->offset, NULL, tensor->file_rows * tensor->cols);
    }
    return sqrt(squares);
}

/* Errors of x beside y, [n_measures]. A gradient that is 0 may be off by the rounding of others. */
static void measure(const struct canary *canary, const struct side *x, const struct side *y,
                    double *errors)
{
    const struct shapes *shapes = canary->shapes;
    const double least = y->gradient ? UNIT_FP32 * size_of(shapes, y->gradient) : 0;
    measure_losses(canary, x, y, errors);
    for (int t = 0; y->gradient && t < shapes->n_tensors; t++)
        measure_tensor(&shapes->tensor[t], x->gradient + shapes->tensor[t].offset,
                       y->gradient + shapes->tensor[t].offset, least, errors + OF_TENSORS + 2 * t);
}

/* ---- judging ---- */

static double bound_of(const struct canary *canary, int measure)
{
    return fmax(canary->bound, DOUBT * canary->roundings[measure]);
}

static void name(const struct canary *canary, int measure, char what[CANARY_WHAT_MAX])
{
    static const char *const of_losses[] = {
        [LOSSES] = "the losses", [POSITION] = "the loss of a position"};
    if (measure < OF_TENSORS)
        snprintf(what, CANARY_WHAT_MAX, "%s", of_losses[measure]);
    else
        snprintf(what, CANARY_WHAT_MAX, "%s gradient of %s",
                 (measure - OF_TENSORS) % 2 ? "a row of the" : "the",
                 canary->shapes->tensor[(measure - OF_TENSORS) / 2].name);
}

/* The error nearest to its bound, or beyond it. */
static void find_worst(const struct canary *canary, struct canary_result *out)
{
    int worst = 0;
    for (int i = 1; i < canary->n_measures; i++)
        if (!(canary->errors[i] * bound_of(canary, worst) <=
              canary->errors[worst] * bound_of(canary, i)))
            worst = i;
    out->error = canary->errors[worst];
    out->bound = bound_of(canary, worst);
    name(canary, worst, out->what);
}

/* Add ROUNDED_P of the gradient that other targets have, which are not as likely. */
static int add_rounding_of_p(const struct canary *canary, struct err *err)
{
    const struct canary_job *job = canary->job;
    struct side other = {.gradient = job->parameters};
    const int V = job->dataset->vocab;
    int32_t *targets = malloc((size_t)canary->n * sizeof *targets);
    other.losses = malloc((size_t)canary->n * sizeof *other.losses);
    int result = targets && other.losses ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for targets");
    for (int i = 0; result == 0 && i < canary->n; i++)
        targets[i] = (job->targets[i] + 1) % V;
    if (result == 0)
        result = compute(canary, canary->model, targets, &other, err);
    for (int64_t i = 0; result == 0 && i < canary->shapes->n_parameters; i++)
        canary->moved.gradient[i] += (float)ROUNDED_P * other.gradient[i];
    free(targets);
    free(other.losses);
    return result;
}

/* Measure how far rounding moves this batch. */
static int measure_rounding(struct canary *canary, struct err *err)
{
    if (allocate_side(canary, &canary->moved) != 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for a gradient");
    move_weights(canary);
    if (model_upload(canary->model, MODEL_PARAMETERS, canary->job->parameters, err) != 0 ||
        compute(canary, canary->model, canary->job->targets, &canary->moved, err) != 0 ||
        (canary->has_gradient && add_rounding_of_p(canary, err) != 0))
        return -1;
    measure(canary, &canary->moved, &canary->reference, canary->roundings);
    return 0;
}

static int is_within(const struct canary_result *result)
{
    return result->error <= result->bound;
}

static int is_finite(const struct canary *canary)
{
    double sum = 0;
    for (int i = 0; i < canary->n; i++)
        sum += canary->reference.losses[i];
    return isfinite(sum);
}

/* 1: the processor has been asked; 0: it cannot be, for the reason in err. */
static int ask_processor(struct canary *canary, struct err *err)
{
    if (open_canary(canary, err) != 0 ||
        model_upload(canary->model, MODEL_PARAMETERS, canary->job->parameters, err) != 0 ||
        compute(canary, canary->model, canary->job->targets, &canary->reference, err) != 0)
        return 0;
    if (is_finite(canary))
        return 1;
    err_set(err, ERR_DIVERGED, "its losses are not finite on the CPU either");
    return 0;
}

static int judge(struct canary *canary, struct canary_result *out, struct err *err)
{
    struct err why = ERR_INIT;
    measure(canary, &canary->device, &canary->reference, canary->errors);
    find_worst(canary, out);
    if (!is_within(out) && measure_rounding(canary, &why) == 0)
        find_worst(canary, out);
    if (is_within(out))
        return 0;
    return err_set(err, ERR_DEVICE_WRONG,
                   "the first batch is not what the CPU computes: %s: relative error %.3g, at most "
                   "%.3g is rounding",
                   out->what, out->error, out->bound);
}

int canary_compare(const struct canary_job *job, struct canary_result *out, struct err *err)
{
    struct canary canary = {.job = job, .shapes = model_shapes(job->model)};
    struct err why = ERR_INIT;
    const double began = clock_monotonic_seconds();
    int result = model_download(job->model, MODEL_PARAMETERS, job->parameters, err);
    *out = (struct canary_result){.windows = 0};
    if (result == 0 && !ask_processor(&canary, &why)) {
        snprintf(out->note, sizeof out->note, "%.255s", why.message);
    } else if (result == 0) {
        result = compute(&canary, job->model, job->targets, &canary.device, err);
        if (result == 0)
            result = judge(&canary, out, err);
        out->windows = canary.spec.train.batch_size;
        out->n_gradients = canary.has_gradient ? canary.shapes->n_tensors : 0;
    }
    out->seconds = clock_monotonic_seconds() - began;
    close_canary(&canary);
    return result;
}
