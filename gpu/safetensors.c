/* safetensors: see safetensors.h. The header is printed into memory first,
 * because its length stands before it; offsets follow from the shapes alone.
 * Format: https://github.com/huggingface/safetensors (README, "Format"). */
#include "gpu/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/checkpoint.h"

enum {
    CHUNK = 4096, /* numbers scaled at a time */
    ENTRY_MAX = SHAPES_NAME_MAX + 96,
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

/* A tensor's entry up to its offsets. A vector is one-dimensional in the file. */
static void entry_of(const struct shapes_tensor *tensor, char *text, size_t n)
{
    char shape[48];
    if (tensor->rows == 1 || tensor->kind == SHAPES_HEAD_BIAS)
        snprintf(shape, sizeof shape, "%lld", (long long)file_numbers(tensor));
    else
        snprintf(shape, sizeof shape, "%lld,%lld", (long long)tensor->file_rows,
                 (long long)tensor->cols);
    snprintf(text, n, "\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[", tensor->name,
             shape);
}

/* The same of the tokens in order of rank. */
static void order_entry(int vocab, char *text, size_t n)
{
    snprintf(text, n, "\"lm_head.order\":{\"dtype\":\"I32\",\"shape\":[%d],\"data_offsets\":[",
             vocab);
}

static void print_tensor(FILE *out, const struct shapes_tensor *tensor, int64_t offset)
{
    char entry[ENTRY_MAX];
    int64_t end = offset + file_numbers(tensor) * (int64_t)sizeof(float);
    entry_of(tensor, entry, sizeof entry);
    fprintf(out, ",%s%lld,%lld]}", entry, (long long)offset, (long long)end);
}

/* The JSON header, padded with blanks so that the data start at a multiple of 8. */
static char *make_header(const struct spec *spec, const struct shapes *shapes, size_t *n)
{
    char *header = NULL;
    FILE *out = open_memstream(&header, n);
    if (!out)
        return NULL;
    fprintf(out, "{\"__metadata__\":{\"format\":\"pt\"");
    if (spec->model.head_bias)
        fprintf(out, ",\"note\":\"%s\"", bias_note);
    if (spec->model.head == HEAD_ADAPTIVE)
        fprintf(out, ",\"note\":\"%s\"", adaptive_note);
    if (spec->model.logit_scale != 1)
        fprintf(out, ",\"logit_scale\":\"%.17g, folded into transformer.ln_f\"",
                spec->model.logit_scale);
    fprintf(out, "}");
    int64_t offset = 0;
    for (int i = 0; i < shapes->n_tensors; i++) {
        print_tensor(out, &shapes->tensor[i], offset);
        offset += file_numbers(&shapes->tensor[i]) * (int64_t)sizeof(float);
    }
    if (spec->model.head == HEAD_ADAPTIVE) {
        char entry[ENTRY_MAX];
        order_entry(shapes->vocab, entry, sizeof entry);
        fprintf(out, ",%s%lld,%lld]}", entry, (long long)offset,
                (long long)(offset + shapes->vocab * (int64_t)sizeof(int32_t)));
    }
    fprintf(out, "}");
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

static double scale_of(const struct spec *spec, const struct shapes_tensor *tensor)
{
    return strncmp(tensor->name, "transformer.ln_f.", 17) == 0 ? spec->model.logit_scale : 1;
}

/* Stream errors stay in `out` and are told when it is closed. */
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

/* A file that comes into being whole: DIR/NAME by way of DIR/NAME.new. */
struct fresh_file {
    char path[PATH_MAX], temporary[PATH_MAX];
    const char *dir;
    FILE *out;
};

static int fresh_open(struct fresh_file *file, const char *dir, const char *name, struct err *err)
{
    file->dir = dir;
    if (snprintf(file->temporary, PATH_MAX, "%s/%s.new", dir, name) >= PATH_MAX ||
        snprintf(file->path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(err, ERR_IO, "the path %.80s... is too long", dir);
    file->out = fopen(file->temporary, "wbe");
    return file->out ? 0 : err_set_errno(err, ERR_IO, "cannot create %s", file->temporary);
}

static int fresh_close(struct fresh_file *file, struct err *err)
{
    int bad = fflush(file->out) != 0 || ferror(file->out) || fsync(fileno(file->out)) != 0;
    if (bad)
        err_set_errno(err, ERR_IO, "cannot write %s", file->path);
    if (fclose(file->out) != 0 && !bad)
        bad = err_set_errno(err, ERR_IO, "cannot write %s", file->path);
    if (!bad && rename(file->temporary, file->path) != 0)
        bad = err_set_errno(err, ERR_IO, "cannot rename %s", file->temporary);
    if (bad) {
        unlink(file->temporary);
        return -1;
    }
    return checkpoint_sync_dir(file->dir, err);
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
    struct fresh_file file;
    snprintf(name, sizeof name, SAFETENSORS_NAME, epoch);
    if (fresh_open(&file, dir, name, err) != 0) {
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
    return fresh_close(&file, err);
}

static void print_vocabulary(FILE *out, const int32_t *original, int vocab)
{
    fputs("  \"tokenfate_vocabulary\": [", out);
    for (int id = 0; id < vocab; id++)
        fprintf(out, "%s%d", id ? "," : "", original[id]);
    fputs("],\n", out);
}

int safetensors_write_config(const char *dir, const struct spec *spec, const struct shapes *shapes,
                             const int32_t *original, struct err *err)
{
    static const char *const activation[] = {
        [ACTIVATION_GELU] = "gelu", [ACTIVATION_GELU_NEW] = "gelu_new", [ACTIVATION_RELU] = "relu"};
    struct fresh_file file;
    if (fresh_open(&file, dir, "config.json", err) != 0)
        return -1;
    fprintf(file.out,
            "{\n  \"model_type\": \"gpt2\",\n  \"architectures\": [\"%s\"],\n"
            "  \"vocab_size\": %d,\n  \"n_positions\": %d,\n  \"n_ctx\": %d,\n"
            "  \"n_embd\": %d,\n  \"n_layer\": %d,\n  \"n_head\": %d,\n  \"n_inner\": null,\n",
            spec->model.head == HEAD_FULL ? "GPT2LMHeadModel" : "GPT2Model", shapes->vocab,
            spec->model.seq_len, spec->model.seq_len, spec->model.d_model, spec->model.n_layers,
            spec->model.n_heads);
    if (original)
        print_vocabulary(file.out, original, shapes->vocab);
    fprintf(file.out,
            "  \"activation_function\": \"%s\",\n  \"layer_norm_epsilon\": 1e-05,\n"
            "  \"scale_attn_weights\": true,\n  \"tie_word_embeddings\": %s,\n"
            "  \"resid_pdrop\": 0.0,\n  \"embd_pdrop\": 0.0,\n  \"attn_pdrop\": 0.0,\n"
            "  \"initializer_range\": %.17g,\n  \"torch_dtype\": \"float32\",\n"
            "  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n  \"use_cache\": true\n}\n",
            activation[spec->model.activation], spec->model.tie == TIE_TIED ? "true" : "false",
            spec->model.init_std, shapes->vocab - 1, shapes->vocab - 1);
    return fresh_close(&file, err);
}

/* ---- reading ---- */

/* The header as text (malloc) with its length; the file stands at the data. */
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

/* The [rows, cols] numbers of 4 bytes of the tensor whose entry begins so. */
static int read_numbers(FILE *file, const char *header, uint64_t n_header, const char *entry,
                        const char *name, int64_t rows, int64_t cols, void *numbers,
                        struct err *err)
{
    long long offset;
    const size_t n = (size_t)(rows * cols);
    const char *found = strstr(header, entry);
    if (!found || sscanf(found + strlen(entry), "%lld", &offset) != 1 || offset < 0)
        return err_set(err, ERR_INVALID, "the model has no tensor %s of %lld x %lld numbers", name,
                       (long long)rows, (long long)cols);
    if (fseeko(file, (off_t)(sizeof n_header + n_header) + (off_t)offset, SEEK_SET) != 0 ||
        fread(numbers, 4, n, file) != n)
        return err_set(err, ERR_CORRUPT, "the model ends within tensor %s", name);
    return 0;
}

static int read_tensor(FILE *file, const char *header, uint64_t n_header, const struct spec *spec,
                       const struct shapes_tensor *tensor, float *parameters, struct err *err)
{
    char entry[ENTRY_MAX];
    const int64_t n = file_numbers(tensor);
    float *numbers = parameters + tensor->offset;
    entry_of(tensor, entry, sizeof entry);
    if (read_numbers(file, header, n_header, entry, tensor->name, tensor->file_rows, tensor->cols,
                     numbers, err) != 0)
        return -1;
    const double scale = scale_of(spec, tensor);
    for (int64_t i = 0; scale != 1 && i < n; i++)
        numbers[i] = (float)(numbers[i] / scale);
    memset(numbers + n, 0, (size_t)(tensor->rows * tensor->cols - n) * sizeof *numbers);
    return 0;
}

static int read_order(FILE *file, const char *header, uint64_t n_header, int vocab, int32_t *order,
                      struct err *err)
{
    char entry[ENTRY_MAX];
    order_entry(vocab, entry, sizeof entry);
    return read_numbers(file, header, n_header, entry, "lm_head.order", vocab, 1, order, err);
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
        failed = read_tensor(file, header, n, spec, &shapes->tensor[i], parameters, err) != 0;
    if (!failed && spec->model.head == HEAD_ADAPTIVE)
        failed = read_order(file, header, n, shapes->vocab, order, err) != 0;
    free(header);
    fclose(file);
    return failed ? -1 : 0;
}
