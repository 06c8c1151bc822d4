/* safetensors: see safetensors.h. The header is printed into memory first, because its length
 * precedes it; offsets follow from the shapes alone. Reading searches the header for the very
 * text that writing prints for a tensor, so it takes this program's files only.
 * Format: https://github.com/huggingface/safetensors (README, "Format"). */
#include "gpu/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/emit.h"
#include "config/file.h"

enum {
    CHUNK = 4096,         /* numbers that are scaled at a time */
    HEADER_MAX = 16 << 20 /* bytes; the header of 128 layers takes 200 kB */
};

static const char bias_note[] = "lm_head.bias is added to the logits; GPT2LMHeadModel has no such "
                                "parameter, add it yourself";

static const char adaptive_note[] =
    "lm_head is an adaptive softmax (Grave et al. 2017), which GPT2LMHeadModel does not compute: "
    "rows are in order of rank, lm_head.order has the token of each rank";

static int64_t file_numbers(const struct shapes_tensor *tensor)
{
    return tensor->file_rows * tensor->cols;
}

/* A tensor in the file: numbers of 4 bytes. A vector has one dimension; what is a vector
 * follows from the kind, so a matrix of one row keeps its rank. */
struct file_tensor {
    const char *name, *type;
    int dimensions;
    int64_t shape[2];
};

static struct file_tensor weights_of(const struct shapes_tensor *tensor)
{
    const struct file_tensor weights = {.name = tensor->name, .type = "F32"};
    struct file_tensor vector = weights, matrix = weights;
    vector.dimensions = 1;
    vector.shape[0] = file_numbers(tensor);
    matrix.dimensions = 2;
    matrix.shape[0] = tensor->file_rows;
    matrix.shape[1] = tensor->cols;
    return tensor->kind == SHAPES_GAIN || tensor->kind == SHAPES_BIAS ||
                   tensor->kind == SHAPES_HEAD_BIAS
               ? vector
               : matrix;
}

/* The tensor with the token of each rank. */
static struct file_tensor order_of(int vocab)
{
    return (struct file_tensor){
        .name = "lm_head.order", .type = "I32", .dimensions = 1, .shape = {vocab}};
}

/* A tensor's entry up to its offsets. */
static void emit_entry(struct emit *emit, const struct file_tensor *tensor)
{
    emit_object(emit, tensor->name);
    emit_text(emit, "dtype", tensor->type);
    emit_array(emit, "shape");
    for (int i = 0; i < tensor->dimensions; i++)
        emit_integer(emit, NULL, tensor->shape[i]);
    emit_end(emit);
    emit_array(emit, "data_offsets");
}

/* The whole entry of a tensor at *offset, which advances behind it. */
static void emit_tensor(struct emit *emit, const struct file_tensor *tensor, int64_t *offset)
{
    int64_t bytes = sizeof(float);
    for (int i = 0; i < tensor->dimensions; i++)
        bytes *= tensor->shape[i];
    emit_entry(emit, tensor);
    emit_integer(emit, NULL, *offset);
    emit_integer(emit, NULL, *offset += bytes);
    emit_end(emit);
    emit_end(emit);
}

static void emit_metadata(struct emit *emit, const struct spec *spec)
{
    char scale[64];
    emit_object(emit, "__metadata__");
    emit_text(emit, "format", "pt");
    if (spec->model.head_bias)
        emit_text(emit, "note", bias_note);
    if (spec->model.head == HEAD_ADAPTIVE)
        emit_text(emit, "note", adaptive_note);
    if (spec->model.logit_scale != 1) {
        snprintf(scale, sizeof scale, "%.17g, folded into transformer.ln_f",
                 spec->model.logit_scale);
        emit_text(emit, "logit_scale", scale);
    }
    emit_end(emit);
}

/* The JSON header, padded with spaces so that the data start at a multiple of 8. */
static char *make_header(const struct spec *spec, const struct shapes *shapes, size_t *n)
{
    char *header = NULL;
    int64_t offset = 0;
    struct emit emit;
    FILE *out = open_memstream(&header, n);
    if (!out)
        return NULL;
    emit_open(&emit, out, EMIT_COMPACT);
    emit_object(&emit, NULL);
    emit_metadata(&emit, spec);
    for (int i = 0; i < shapes->n_tensors; i++) {
        const struct file_tensor weights = weights_of(&shapes->tensor[i]);
        emit_tensor(&emit, &weights, &offset);
    }
    if (spec->model.head == HEAD_ADAPTIVE) {
        const struct file_tensor order = order_of(shapes->vocab);
        emit_tensor(&emit, &order, &offset);
    }
    emit_end(&emit);
    while (ftell(out) % 8 != 0)
        fputc(' ', out);
    int failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(header);
        return NULL;
    }
    return header;
}

static int write_scaled(FILE *out, const float *numbers, int64_t n, double scale)
{
    float chunk[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t part = n - at < CHUNK ? n - at : CHUNK;
        for (int64_t i = 0; i < part; i++)
            chunk[i] = (float)(numbers[at + i] * scale);
        if (fwrite(chunk, sizeof(float), (size_t)part, out) != (size_t)part)
            return -1;
    }
    return 0;
}

/* logits = scale * (h . w): folding the scale into ln_f's gain and bias scales h. */
static double scale_of(const struct spec *spec, const struct shapes_tensor *tensor)
{
    return strncmp(tensor->name, "transformer.ln_f.", 17) == 0 ? spec->model.logit_scale : 1;
}

/* Write errors stay in `out`; file_atomic_commit reports them. */
static void write_tensors(FILE *out, const struct spec *spec, const struct shapes *shapes,
                          const float *parameters)
{
    for (int i = 0; i < shapes->n_tensors; i++) {
        const struct shapes_tensor *tensor = &shapes->tensor[i];
        if (write_scaled(out, parameters + tensor->offset, file_numbers(tensor),
                         scale_of(spec, tensor)) != 0)
            return;
    }
}

int safetensors_write(const char *dir, long long epoch, const struct spec *spec,
                      const struct shapes *shapes, const float *parameters, const int32_t *order,
                      struct err *err)
{
    size_t n = 0;
    assert((order != NULL) == (spec->model.head == HEAD_ADAPTIVE));
    char *header = make_header(spec, shapes, &n);
    if (!header)
        return err_set(err, ERR_NO_MEMORY, "no memory for the header of %d tensors",
                       shapes->n_tensors);
    char name[64];
    struct file_atomic file;
    snprintf(name, sizeof name, SAFETENSORS_NAME, epoch);
    if (file_atomic_open(&file, dir, name, 0666, err) != 0) {
        free(header);
        return -1;
    }
    uint64_t length = n;
    fwrite(&length, sizeof length, 1, file.out);
    fwrite(header, 1, n, file.out);
    free(header);
    write_tensors(file.out, spec, shapes, parameters);
    if (order)
        fwrite(order, sizeof *order, (size_t)shapes->vocab, file.out);
    return file_atomic_commit(&file, err);
}

/* Model's id of <|endoftext|>, which begins and ends a text; -1: there is none. `bytes` has no
 * special token, a pruned vocabulary only what the text holds. */
static int end_of_text(const struct spec *spec, const int32_t *original, int vocab)
{
    static const struct {
        const char *tokenizer;
        int32_t id;
    } ends[] = {{"gpt2", 50256}, {"cl100k_base", 100257}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        for (int id = 0; strcmp(ends[i].tokenizer, spec->corpus.tokenizer) == 0 && id < vocab; id++)
            if ((original ? original[id] : id) == ends[i].id)
                return id;
    return -1;
}

static void emit_token(struct emit *emit, const char *key, int id)
{
    if (id < 0)
        emit_null(emit, key);
    else
        emit_integer(emit, key, id);
}

/* The fields of transformers.GPT2Config, including those that are fixed in GPT-2. */
static void emit_config(struct emit *emit, const struct spec *spec, const struct shapes *shapes,
                        const int32_t *original)
{
    static const char *const activation[] = {
        [ACTIVATION_GELU] = "gelu", [ACTIVATION_GELU_NEW] = "gelu_new", [ACTIVATION_RELU] = "relu"};
    const int end = end_of_text(spec, original, shapes->vocab);
    emit_object(emit, NULL);
    emit_text(emit, "model_type", "gpt2");
    emit_array(emit, "architectures");
    emit_text(emit, NULL, spec->model.head == HEAD_FULL ? "GPT2LMHeadModel" : "GPT2Model");
    emit_end(emit);
    emit_integer(emit, "vocab_size", shapes->vocab);
    emit_integer(emit, "n_positions", spec->model.seq_len);
    emit_integer(emit, "n_ctx", spec->model.seq_len);
    emit_integer(emit, "n_embd", spec->model.d_model);
    emit_integer(emit, "n_layer", spec->model.n_layers);
    emit_integer(emit, "n_head", spec->model.n_heads);
    emit_null(emit, "n_inner");
    if (original) {
        emit_array(emit, "tokenfate_vocabulary");
        for (int id = 0; id < shapes->vocab; id++)
            emit_integer(emit, NULL, original[id]);
        emit_end(emit);
    }
    emit_text(emit, "activation_function", activation[spec->model.activation]);
    emit_number(emit, "layer_norm_epsilon", 1e-5);
    emit_bool(emit, "scale_attn_weights", 1);
    emit_bool(emit, "tie_word_embeddings", spec->model.tie == TIE_TIED);
    emit_raw(emit, "resid_pdrop", "0.0"); /* floats in GPT2Config, so with a decimal point */
    emit_raw(emit, "embd_pdrop", "0.0");
    emit_raw(emit, "attn_pdrop", "0.0");
    emit_number(emit, "initializer_range", spec->model.init_std);
    emit_text(emit, "torch_dtype", "float32");
    emit_token(emit, "bos_token_id", end);
    emit_token(emit, "eos_token_id", end);
    emit_bool(emit, "use_cache", 1);
    emit_end(emit);
}

int safetensors_write_config(const char *dir, const struct spec *spec, const struct shapes *shapes,
                             const int32_t *original, struct err *err)
{
    struct file_atomic file;
    struct emit emit;
    if (file_atomic_open(&file, dir, "config.json", 0666, err) != 0)
        return -1;
    emit_open(&emit, file.out, EMIT_LINES);
    emit_config(&emit, spec, shapes, original);
    return file_atomic_commit(&file, err);
}

/* ---- reading ---- */

/* Read the header as a string (malloc) of length *n; the file position is then that of the data. */
static char *read_header(FILE *file, const char *path, uint64_t *n, struct err *err)
{
    if (fread(n, sizeof *n, 1, file) != 1 || *n == 0 || *n > HEADER_MAX) {
        err_set(err, ERR_CORRUPT, "%s is no safetensors file", path);
        return NULL;
    }
    char *header = malloc(*n + 1);
    if (!header) {
        err_set(err, ERR_NO_MEMORY, "no memory for a header of %llu bytes", (unsigned long long)*n);
        return NULL;
    }
    if (fread(header, 1, *n, file) != *n) {
        err_set(err, ERR_CORRUPT, "%s ends within its header", path);
        free(header);
        return NULL;
    }
    header[*n] = '\0';
    return header;
}

/* Text of a tensor's entry up to its offsets (malloc); NULL without memory. */
static char *print_entry(const struct file_tensor *tensor)
{
    struct emit emit;
    if (emit_open_text(&emit))
        return NULL;
    emit_object(&emit, NULL);
    emit_entry(&emit, tensor);
    return emit_close_text(&emit);
}

/* Offset of the tensor with this name, type and shape; -1 if the header has none. */
static int64_t find_tensor(const char *header, const struct file_tensor *tensor, struct err *err)
{
    long long offset = -1;
    char *entry = print_entry(tensor);
    if (!entry)
        return err_set(err, ERR_NO_MEMORY, "no memory to find tensor %s", tensor->name);
    const char *key = entry + 1; /* behind the brace that opens the header */
    const char *found = strstr(header, key);
    const int read = found ? sscanf(found + strlen(key), "%lld", &offset) : 0;
    free(entry);
    if (read == 1 && offset >= 0)
        return offset;
    return err_set(err, ERR_INVALID, "the model has no tensor %s of %lld x %lld numbers",
                   tensor->name, (long long)tensor->shape[0],
                   tensor->dimensions == 2 ? (long long)tensor->shape[1] : 1);
}

static int read_numbers(FILE *file, const char *header, uint64_t n_header,
                        const struct file_tensor *tensor, void *numbers, struct err *err)
{
    const int64_t offset = find_tensor(header, tensor, err);
    size_t n = 1;
    for (int i = 0; i < tensor->dimensions; i++)
        n *= (size_t)tensor->shape[i];
    if (offset < 0)
        return -1;
    if (fseeko(file, (off_t)(sizeof n_header + n_header) + (off_t)offset, SEEK_SET) != 0 ||
        fread(numbers, 4, n, file) != n)
        return err_set(err, ERR_CORRUPT, "the model ends within tensor %s", tensor->name);
    return 0;
}

static int read_weights(FILE *file, const char *header, uint64_t n_header, const struct spec *spec,
                        const struct shapes_tensor *tensor, float *parameters, struct err *err)
{
    const int64_t n = file_numbers(tensor);
    float *numbers = parameters + tensor->offset;
    const struct file_tensor weights = weights_of(tensor);
    if (read_numbers(file, header, n_header, &weights, numbers, err) != 0)
        return -1;
    const double scale = scale_of(spec, tensor);
    for (int64_t i = 0; scale != 1 && i < n; i++)
        numbers[i] = (float)(numbers[i] / scale);
    memset(numbers + n, 0, (size_t)(tensor->rows * tensor->cols - n) * sizeof *numbers);
    return 0;
}

int safetensors_read(const char *path, const struct spec *spec, const struct shapes *shapes,
                     float *parameters, int32_t *order, struct err *err)
{
    uint64_t n;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    char *header = read_header(file, path, &n, err);
    int failed = !header;
    for (int i = 0; i < shapes->n_tensors && !failed; i++)
        failed = read_weights(file, header, n, spec, &shapes->tensor[i], parameters, err) != 0;
    if (!failed && spec->model.head == HEAD_ADAPTIVE) {
        const struct file_tensor ranks = order_of(shapes->vocab);
        failed = read_numbers(file, header, n, &ranks, order, err) != 0;
    }
    free(header);
    fclose(file);
    return failed ? -1 : 0;
}
