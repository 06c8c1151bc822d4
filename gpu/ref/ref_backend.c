/* ref_backend: see ref_backend.h. Loops follow the definitions of the operations. No operation uses
 * a result of another one, unless the contract passes it in. */
#include "gpu/ref/ref_backend.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lab/memory.h"

static void ref_close(struct backend *self)
{
    free(self);
}

static int64_t ref_available(struct backend *self)
{
    (void)self;
    return INT64_MAX;
}

static void *ref_alloc(struct backend *self, int64_t bytes, struct err *err)
{
    (void)self;
    size_t rounded = ((size_t)bytes + 255) / 256 * 256;
    void *memory = aligned_alloc(256, rounded ? rounded : 256);
    if (!memory)
        err_set(err, ERR_NO_MEMORY, "%lld bytes wanted", (long long)bytes);
    return memory;
}

static void ref_free(struct backend *self, void *memory)
{
    (void)self;
    free(memory);
}

static void ref_zero(struct backend *self, void *memory, int64_t bytes)
{
    (void)self;
    memset(memory, 0, (size_t)bytes);
}

static void ref_upload(struct backend *self, void *device, enum backend_number to, const void *host,
                       enum backend_number from, int64_t n)
{
    (void)self;
    if (to == NUMBER_INT32) {
        assert(from == NUMBER_INT32);
        memcpy(device, host, (size_t)n * sizeof(int32_t));
        return;
    }
    double *out = device;
    for (int64_t i = 0; i < n; i++)
        out[i] = from == NUMBER_FLOAT ? ((const float *)host)[i] : ((const double *)host)[i];
}

static int ref_download(struct backend *self, void *host, enum backend_number to,
                        const void *device, enum backend_number from, int64_t n, struct err *err)
{
    (void)self;
    (void)err;
    if (from == NUMBER_INT32) {
        assert(to == NUMBER_INT32);
        memcpy(host, device, (size_t)n * sizeof(int32_t));
        return 0;
    }
    const double *in = device;
    for (int64_t i = 0; i < n; i++) {
        if (to == NUMBER_FLOAT)
            ((float *)host)[i] = (float)in[i];
        else
            ((double *)host)[i] = in[i];
    }
    return 0;
}

static int ref_sync(struct backend *self, struct err *err)
{
    (void)self;
    (void)err;
    return 0;
}

static void ref_cast(struct backend *self, void *out, const void *in, int64_t n)
{
    (void)self;
    memcpy(out, in, (size_t)n * sizeof(double));
}

static void ref_add(struct backend *self, void *out, const void *a, const void *b, int64_t n)
{
    (void)self;
    for (int64_t i = 0; i < n; i++)
        ((double *)out)[i] = ((const double *)a)[i] + ((const double *)b)[i];
}

static void ref_embedding_forward(struct backend *self, void *out_, const void *wte_,
                                  const void *wpe_, const int32_t *ids, int B, int T, int C)
{
    (void)self;
    double *out = out_;
    const double *wte = wte_, *wpe = wpe_;
    for (int p = 0; p < B * T; p++)
        for (int c = 0; c < C; c++)
            out[(int64_t)p * C + c] = wte[(int64_t)ids[p] * C + c] + wpe[(int64_t)(p % T) * C + c];
}

static void ref_embedding_backward(struct backend *self, void *dwte_, void *dwpe_,
                                   const void *dout_, const int32_t *ids, int B, int T, int C)
{
    (void)self;
    double *dwte = dwte_, *dwpe = dwpe_;
    const double *dout = dout_;
    for (int64_t i = 0; i < (int64_t)T * C; i++)
        dwpe[i] = 0;
    for (int p = 0; p < B * T; p++)
        for (int c = 0; c < C; c++) {
            dwte[(int64_t)ids[p] * C + c] += dout[(int64_t)p * C + c];
            dwpe[(int64_t)(p % T) * C + c] += dout[(int64_t)p * C + c];
        }
}

static void ref_layernorm_forward(struct backend *self, void *out_, void *mean_, void *rstd_,
                                  const void *x_, const void *gain_, const void *bias_, int N,
                                  int C)
{
    (void)self;
    double *out = out_, *mean = mean_, *rstd = rstd_;
    const double *x = x_, *gain = gain_, *bias = bias_;
    for (int n = 0; n < N; n++, x += C, out += C) {
        double sum = 0, squares = 0;
        for (int c = 0; c < C; c++)
            sum += x[c];
        mean[n] = sum / C;
        for (int c = 0; c < C; c++)
            squares += (x[c] - mean[n]) * (x[c] - mean[n]);
        rstd[n] = 1 / sqrt(squares / C + 1e-5);
        for (int c = 0; c < C; c++)
            out[c] = (x[c] - mean[n]) * rstd[n] * gain[c] + bias[c];
    }
}

/* With y = (x - mean) rstd and g = dout * gain:
 * dx = rstd (g - mean(g) - y mean(g y)). */
static void ref_layernorm_backward(struct backend *self, void *dx_, void *dgain_, void *dbias_,
                                   const void *dout_, const void *residual_, const void *x_,
                                   const void *mean_, const void *rstd_, const void *gain_, int N,
                                   int C)
{
    (void)self;
    double *dx = dx_, *dgain = dgain_, *dbias = dbias_;
    const double *dout = dout_, *residual = residual_, *x = x_, *mean = mean_, *rstd = rstd_,
                 *gain = gain_;
    for (int c = 0; c < C; c++)
        dgain[c] = dbias[c] = 0;
    for (int n = 0; n < N; n++) {
        const int64_t row = (int64_t)n * C;
        double g_mean = 0, gy_mean = 0;
        for (int c = 0; c < C; c++) {
            double y = (x[row + c] - mean[n]) * rstd[n];
            double g = dout[row + c] * gain[c];
            dgain[c] += dout[row + c] * y;
            dbias[c] += dout[row + c];
            g_mean += g / C;
            gy_mean += g * y / C;
        }
        for (int c = 0; c < C; c++) {
            double y = (x[row + c] - mean[n]) * rstd[n];
            double g = dout[row + c] * gain[c];
            dx[row + c] = (residual ? residual[row + c] : 0) + rstd[n] * (g - g_mean - y * gy_mean);
        }
    }
}

static void ref_matmul_forward(struct backend *self, void *out_, const void *x_,
                               const void *weight_, const void *bias_, int N, int I, int O)
{
    (void)self;
    double *out = out_;
    const double *x = x_, *weight = weight_, *bias = bias_;
    for (int n = 0; n < N; n++)
        for (int o = 0; o < O; o++) {
            double sum = bias[o];
            for (int i = 0; i < I; i++)
                sum += x[(int64_t)n * I + i] * weight[(int64_t)i * O + o];
            out[(int64_t)n * O + o] = sum;
        }
}

static void ref_matmul_backward_input(struct backend *self, void *dx_, const void *dout_,
                                      const void *weight_, int N, int I, int O)
{
    (void)self;
    double *dx = dx_;
    const double *dout = dout_, *weight = weight_;
    for (int n = 0; n < N; n++)
        for (int i = 0; i < I; i++) {
            double sum = 0;
            for (int o = 0; o < O; o++)
                sum += dout[(int64_t)n * O + o] * weight[(int64_t)i * O + o];
            dx[(int64_t)n * I + i] = sum;
        }
}

static void ref_matmul_backward_weight(struct backend *self, void *dweight_, void *dbias_,
                                       const void *x_, const void *dout_, int N, int I, int O)
{
    (void)self;
    double *dweight = dweight_, *dbias = dbias_;
    const double *x = x_, *dout = dout_;
    for (int o = 0; o < O; o++) {
        dbias[o] = 0;
        for (int n = 0; n < N; n++)
            dbias[o] += dout[(int64_t)n * O + o];
        for (int i = 0; i < I; i++) {
            double sum = 0;
            for (int n = 0; n < N; n++)
                sum += x[(int64_t)n * I + i] * dout[(int64_t)n * O + o];
            dweight[(int64_t)i * O + o] = sum;
        }
    }
}

/* Score of query t and key s of one head; part 0, 1, 2 of a position's 3C
 * numbers are its query, key and value. */
static const double *part_of(const double *qkv, int position, int part, int head, int C, int D)
{
    return qkv + ((int64_t)position * 3 + part) * C + (int64_t)head * D;
}

static double score(const double *qkv, int b, int t, int s, int head, int T, int C, int D)
{
    const double *q = part_of(qkv, b * T + t, 0, head, C, D);
    const double *k = part_of(qkv, b * T + s, 1, head, C, D);
    double sum = 0;
    for (int d = 0; d < D; d++)
        sum += q[d] * k[d];
    return sum / sqrt(D);
}

static void ref_attention_forward(struct backend *self, void *out_, void *lse_, const void *qkv,
                                  int B, int T, int C, int NH)
{
    (void)self;
    double *out = out_, *lse = lse_;
    const int D = C / NH;
    for (int b = 0; b < B; b++)
        for (int h = 0; h < NH; h++)
            for (int t = 0; t < T; t++) {
                double largest = -INFINITY, sum = 0;
                for (int s = 0; s <= t; s++)
                    largest = fmax(largest, score(qkv, b, t, s, h, T, C, D));
                for (int s = 0; s <= t; s++)
                    sum += exp(score(qkv, b, t, s, h, T, C, D) - largest);
                double logsumexp = lse[((int64_t)b * NH + h) * T + t] = largest + log(sum);
                double *row = out + (int64_t)(b * T + t) * C + (int64_t)h * D;
                memset(row, 0, (size_t)D * sizeof *row);
                for (int s = 0; s <= t; s++) {
                    double weight = exp(score(qkv, b, t, s, h, T, C, D) - logsumexp);
                    const double *value = part_of(qkv, b * T + s, 2, h, C, D);
                    for (int d = 0; d < D; d++)
                        row[d] += weight * value[d];
                }
            }
}

/* dS = P (dP - sum_s P dP), with dP = dout . value; dQ = dS K, dK = dS^T Q,
 * dV = P^T dout. */
static void ref_attention_backward(struct backend *self, void *dqkv_, const void *dout_,
                                   const void *qkv, const void *out, const void *lse, int B, int T,
                                   int C, int NH)
{
    (void)self;
    (void)out;
    double *dqkv = dqkv_;
    const int D = C / NH;
    memset(dqkv, 0, (size_t)B * T * 3 * C * sizeof *dqkv);
    for (int b = 0; b < B; b++)
        for (int h = 0; h < NH; h++)
            for (int t = 0; t < T; t++) {
                const double *dout = (const double *)dout_ + (int64_t)(b * T + t) * C + h * D;
                const double logsumexp = ((const double *)lse)[((int64_t)b * NH + h) * T + t];
                double dp_mean = 0;
                for (int pass = 0; pass < 2; pass++)
                    for (int s = 0; s <= t; s++) {
                        const double *value = part_of(qkv, b * T + s, 2, h, C, D);
                        double weight = exp(score(qkv, b, t, s, h, T, C, D) - logsumexp), dp = 0;
                        for (int d = 0; d < D; d++)
                            dp += dout[d] * value[d];
                        if (pass == 0) {
                            dp_mean += weight * dp;
                            continue;
                        }
                        const double ds = weight * (dp - dp_mean) / sqrt(D);
                        const double *q = part_of(qkv, b * T + t, 0, h, C, D);
                        const double *k = part_of(qkv, b * T + s, 1, h, C, D);
                        double *dq = dqkv + (q - (const double *)qkv);
                        double *dk = dqkv + (k - (const double *)qkv);
                        double *dv = dqkv + (value - (const double *)qkv);
                        for (int d = 0; d < D; d++) {
                            dq[d] += ds * k[d];
                            dk[d] += ds * q[d];
                            dv[d] += weight * dout[d];
                        }
                    }
            }
}

static double ref_activation(double x, enum spec_activation kind)
{
    switch (kind) {
    case ACTIVATION_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case ACTIVATION_GELU_NEW:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_RELU:
        return x > 0 ? x : 0;
    }
    return NAN;
}

static double ref_activation_slope(double x, enum spec_activation kind)
{
    switch (kind) {
    case ACTIVATION_GELU:
        return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    case ACTIVATION_GELU_NEW: {
        double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
        double inner = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner;
    }
    case ACTIVATION_RELU:
        return x > 0 ? 1 : 0;
    }
    return NAN;
}

static void ref_activation_forward(struct backend *self, void *out, const void *x, int64_t n,
                                   enum spec_activation kind)
{
    (void)self;
    for (int64_t i = 0; i < n; i++)
        ((double *)out)[i] = ref_activation(((const double *)x)[i], kind);
}

static void ref_activation_backward(struct backend *self, void *dx, const void *dout, const void *x,
                                    int64_t n, enum spec_activation kind)
{
    (void)self;
    for (int64_t i = 0; i < n; i++)
        ((double *)dx)[i] =
            ((const double *)dout)[i] * ref_activation_slope(((const double *)x)[i], kind);
}

/* Logits of one position into logits[V]; returns their logsumexp. */
static double ref_logits(const struct backend_lm_head *lm_head, int position, double *logits)
{
    const double *h = (const double *)lm_head->h + (int64_t)position * lm_head->C;
    const double *bias = lm_head->bias;
    double largest = -INFINITY, sum = 0;
    for (int v = 0; v < lm_head->V; v++) {
        const double *w = (const double *)lm_head->weight + (int64_t)v * lm_head->C;
        double dot = 0;
        for (int c = 0; c < lm_head->C; c++)
            dot += h[c] * w[c];
        logits[v] = lm_head->scale * dot + (bias ? bias[v] : 0);
        largest = fmax(largest, logits[v]);
    }
    for (int v = 0; v < lm_head->V; v++)
        sum += exp(logits[v] - largest);
    return largest + log(sum);
}

/* Number i of a vector, or `otherwise` without a vector. */
static double number_of(const void *vector, int64_t i, double otherwise)
{
    return vector ? ((const double *)vector)[i] : otherwise;
}

/* Objective of one position. Its logits get the adjustment, then become the gradient. */
static double ref_objective(const struct backend_lm_head *lm_head, int position, double *logits)
{
    const int V = lm_head->V, target = lm_head->targets[position];
    const double omega = number_of(lm_head->weights, position, 1);
    double largest = -INFINITY, sum = 0, expected = 0;
    for (int v = 0; v < V; v++) {
        logits[v] += number_of(lm_head->adjust, v, 0);
        largest = fmax(largest, logits[v]);
    }
    for (int v = 0; v < V; v++)
        sum += exp(logits[v] - largest);
    const double lse = largest + log(sum);
    for (int v = 0; v < V; v++) {
        const double q = (1 - lm_head->smoothing) * (v == target) + lm_head->smoothing / V;
        const double pi = exp(logits[v] - lse);
        expected += q * logits[v];
        logits[v] = (omega * (pi - q) + 2 * lm_head->z_loss * lse * pi) / lm_head->N;
    }
    if (lm_head->objective_lse)
        ((double *)lm_head->objective_lse)[position] = lse;
    return omega * (lse - expected) + lm_head->z_loss * lse * lse;
}

static void ref_lm_head(struct backend *self, const struct backend_lm_head *lm_head)
{
    (void)self;
    const int N = lm_head->N, C = lm_head->C, V = lm_head->V;
    double *losses = lm_head->losses, *lse = lm_head->lse, *tracked = lm_head->tracked_logits;
    double *dh = lm_head->dh, *dweight = lm_head->dweight, *dbias = lm_head->dbias;
    double *logits = lm_head->workspace;
    if (dh) {
        memset(dh, 0, (size_t)N * C * sizeof *dh);
        memset(dweight, 0, (size_t)lm_head->Vp * C * sizeof *dweight);
    }
    if (dh && dbias)
        memset(dbias, 0, (size_t)lm_head->Vp * sizeof *dbias);
    for (int n = 0; n < N; n++) {
        const double *h = (const double *)lm_head->h + (int64_t)n * C;
        lse[n] = ref_logits(lm_head, n, logits);
        losses[n] = lse[n] - logits[lm_head->targets[n]];
        for (int m = 0; tracked && m < lm_head->M; m++)
            tracked[(int64_t)m * N + n] = logits[lm_head->tracked[m]];
        const double objective = ref_objective(lm_head, n, logits);
        if (lm_head->objective)
            ((double *)lm_head->objective)[n] = objective;
        for (int v = 0; dh && v < V; v++) {
            const double *w = (const double *)lm_head->weight + (int64_t)v * C;
            for (int c = 0; c < C; c++) {
                dh[(int64_t)n * C + c] += lm_head->scale * logits[v] * w[c];
                dweight[(int64_t)v * C + c] += lm_head->scale * logits[v] * h[c];
            }
            if (dbias)
                dbias[v] += logits[v];
        }
    }
}

/* Add the contribution of position n to the rows of the parts of tracked token m. */
static void ref_parts(const struct backend_tracked *t, int m, int n, double pi, double lse)
{
    const int id = t->tracked[m];
    const double omega = number_of(t->weights, n, 1);
    const double q = (1 - t->smoothing) * (t->targets[n] == id) + t->smoothing / t->V;
    const double factor[] = {
        [PART_SOFTMAX] = t->scale / t->N * omega * pi,
        [PART_TARGET] = -t->scale / t->N * omega * q,
        [PART_ZLOSS] = t->scale / t->N * 2 * t->z_loss * lse * pi,
        [PART_INPUT] = t->inputs[n] == id,
    };
    for (int part = 0; part < BACKEND_PARTS; part++) {
        const double *x = (const double *)(part == PART_INPUT ? t->dx : t->h) + (int64_t)n * t->C;
        double *row = (double *)t->parts + ((int64_t)part * t->M + m) * t->C;
        for (int c = 0; c < t->C; c++)
            row[c] += factor[part] * x[c];
    }
}

static void ref_tracked(struct backend *self, const struct backend_tracked *t)
{
    (void)self;
    double *mean_p = t->mean_p;
    if (t->dx)
        memset(t->parts, 0, (size_t)BACKEND_PARTS * t->M * t->C * sizeof(double));
    for (int m = 0; m < t->M; m++) {
        mean_p[m] = 0;
        for (int n = 0; n < t->N; n++) {
            const double logit = ((const double *)t->logits)[(int64_t)m * t->N + n];
            const double lse = ((const double *)t->lse)[n];
            const double adjusted = logit + number_of(t->adjust, t->tracked[m], 0);
            const double objective_lse = number_of(t->objective_lse, n, lse);
            mean_p[m] += exp(logit - lse) / t->N;
            if (t->dx)
                ref_parts(t, m, n, exp(adjusted - objective_lse), objective_lse);
        }
    }
    for (int row = 0; t->dx && row < BACKEND_PARTS * t->M; row++) {
        double sum = 0;
        for (int c = 0; c < t->C; c++)
            sum += pow(((const double *)t->parts)[(int64_t)row * t->C + c], 2);
        ((double *)t->norms)[row] = sqrt(sum);
    }
}

static void ref_window_sums(struct backend *self, void *out_, const void *h_, int B, int T, int C)
{
    (void)self;
    double *out = out_;
    const double *h = h_;
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int t = 0; t < T; t++)
                sum += h[((int64_t)b * T + t) * C + c];
            out[(int64_t)b * C + c] = sum;
        }
}

static void ref_weighted_sums(struct backend *self, void *out_, const void *weights_,
                              const void *h_, int K, int N, int C)
{
    (void)self;
    double *out = out_;
    const double *weights = weights_, *h = h_;
    for (int k = 0; k < K; k++)
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int n = 0; n < N; n++)
                sum += weights[(int64_t)k * N + n] * h[(int64_t)n * C + c];
            out[(int64_t)k * C + c] = sum;
        }
}

static void ref_gather_rows(struct backend *self, void *out, const void *in, const int32_t *ids,
                            int M, int C)
{
    (void)self;
    for (int m = 0; m < M; m++)
        for (int c = 0; c < C; c++)
            ((double *)out)[(int64_t)m * C + c] = ((const double *)in)[(int64_t)ids[m] * C + c];
}

static void ref_scores(struct backend *self, void *out, const void *weight,
                       enum backend_number number, const void *bias, const void *x, double factor,
                       int V, int C)
{
    (void)self;
    (void)number; /* both are double */
    for (int v = 0; v < V; v++) {
        double dot = 0;
        for (int c = 0; c < C; c++)
            dot += ((const double *)weight)[(int64_t)v * C + c] * ((const double *)x)[c];
        ((double *)out)[v] = factor * dot + number_of(bias, v, 0);
    }
}

static void ref_sum_squares(struct backend *self, void *out, const void *in, int64_t n)
{
    (void)self;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((const double *)in)[i] * ((const double *)in)[i];
    *(double *)out += sum;
}

static void ref_update(struct backend *self, const struct backend_update *u, void *parameters,
                       void *copy, const void *gradients, void *moment1, void *moment2, int64_t n)
{
    if (u->summed)
        ref_sum_squares(self, u->summed, gradients, n);
    const double *scalars = u->scalars;
    const double lr = scalars[0];
    double *w = parameters, *m1 = moment1, *m2 = moment2, factor = 1;
    if (u->clip > 0)
        factor = fmin(1, u->clip / (sqrt(*(const double *)u->squares) + 1e-6));
    for (int64_t i = 0; i < n; i++) {
        double g = ((const double *)gradients)[i] * factor;
        if (u->kind != OPTIMIZER_ADAMW)
            g += u->decay * w[i];
        double direction = g;
        if (u->kind == OPTIMIZER_MOMENTUM)
            direction = m1[i] = u->momentum * m1[i] + g;
        if (u->kind == OPTIMIZER_ADAM || u->kind == OPTIMIZER_ADAMW) {
            m1[i] = u->beta1 * m1[i] + (1 - u->beta1) * g;
            m2[i] = u->beta2 * m2[i] + (1 - u->beta2) * g * g;
            direction = m1[i] / scalars[1] / (sqrt(m2[i] / scalars[2]) + u->eps);
        }
        if (u->kind == OPTIMIZER_ADAMW)
            w[i] -= lr * u->decay * w[i];
        w[i] -= lr * direction;
        if (copy)
            ((double *)copy)[i] = w[i];
    }
}

static const struct backend ref_table = {
    .name = "ref",
    .device = "reference",
    .isa = "none",
    .threads = 1,
    .precision = PRECISION_FP32,
    .real_bytes = sizeof(double),
    .act_bytes = sizeof(double),
    .slots = 1,
    .lm_head_chunk = MEMORY_HEAD_CHUNK_CPU,
    .close = ref_close,
    .available = ref_available,
    .alloc = ref_alloc,
    .free = ref_free,
    .zero = ref_zero,
    .upload = ref_upload,
    .download = ref_download,
    .sync = ref_sync,
    .ring_open = backend_ring_open,
    .ring_close = backend_ring_close,
    .program_begin = backend_program_begin,
    .program_end = backend_program_end,
    .feed = backend_feed,
    .publish = backend_publish,
    .ring_wait = backend_ring_wait,
    .cast = ref_cast,
    .add = ref_add,
    .embedding_forward = ref_embedding_forward,
    .embedding_backward = ref_embedding_backward,
    .layernorm_forward = ref_layernorm_forward,
    .add_layernorm_forward = backend_add_layernorm_forward,
    .layernorm_backward = ref_layernorm_backward,
    .matmul_forward = ref_matmul_forward,
    .matmul_backward_input = ref_matmul_backward_input,
    .matmul_backward_weight = ref_matmul_backward_weight,
    .matmul_activation_forward = backend_matmul_activation_forward,
    .matmul_activation_backward = backend_matmul_activation_backward,
    .attention_forward = ref_attention_forward,
    .attention_backward = ref_attention_backward,
    .activation_forward = ref_activation_forward,
    .activation_backward = ref_activation_backward,
    .lm_head = ref_lm_head,
    .tracked = ref_tracked,
    .window_sums = ref_window_sums,
    .weighted_sums = ref_weighted_sums,
    .gather_rows = ref_gather_rows,
    .scores = ref_scores,
    .sum_squares = ref_sum_squares,
    .update = ref_update,
};

int ref_backend_open(struct backend **out, struct err *err)
{
    if (backend_check(&ref_table, err) != 0)
        return -1;
    struct backend *backend = malloc(sizeof *backend);
    if (!backend)
        return err_set(err, ERR_NO_MEMORY, "no memory for a backend");
    *backend = ref_table;
    *out = backend;
    return 0;
}
