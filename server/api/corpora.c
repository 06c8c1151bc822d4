/* api_corpora: texts: upload, list, and how often their tokens occur. Pool
 * (list: HTTP thread). */
#include "server/api/corpora.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/spec.h"
#include "lab/text.h"
#include "server/http/auth.h"
#include "server/corpora.h"
#include "server/datasets.h"
#include "server/json.h"

enum {
    FREQUENCIES_DEFAULT = 1000, /* ranks in an answer */
    FREQUENCIES_MAX = 300000    /* more than any vocabulary has */
};

static void corpus_write(FILE *out, const struct corpus *corpus)
{
    fprintf(out, "{\"id\":\"%s\",\"name\":", corpus->sha256);
    json_write_string(out, corpus->name);
    fprintf(out, ",\"bytes\":%lld,\"created_at\":", (long long)corpus->bytes);
    json_write_time(out, corpus->created_at);
    fputs(",\"user\":", out);
    json_write_string(out, *corpus->user ? corpus->user : NULL);
}

/* ---- upload ---- */

struct upload {
    struct corpus corpus;
    int created;
};

static int upload_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct upload *upload = arg;
    return corpus_insert(writer, &upload->corpus, &upload->created, err);
}

/* What a name means to everybody is changed by its owner alone. */
static int upload_may_name(struct request *request, const char *name, struct err *err)
{
    struct corpus present;
    struct err missing;
    err_clear(&missing);
    if (corpus_get(request->reader, name, &present, &missing)) {
        if (missing.code != ERR_NOT_FOUND)
            *err = missing;
        return missing.code == ERR_NOT_FOUND ? 0 : -1;
    }
    return auth_may_change(request, present.user, err);
}

static int upload_adopt(struct request *request, struct upload *upload, struct err *err)
{
    const char *name = request_query(request, "name");
    if (corpora_check_name(name, err) || upload_may_name(request, name, err))
        return -1;
    snprintf(upload->corpus.name, sizeof upload->corpus.name, "%s", name);
    snprintf(upload->corpus.user, sizeof upload->corpus.user, "%s", request->user.name);
    if (corpora_adopt(&request->server->settings, request->upload_path, &upload->corpus, err) ||
        db_call(request->server->db, upload_store, upload, err))
        return -1;
    return corpus_get(request->reader, name, &upload->corpus, err); /* as it is stored */
}

enum request_result api_corpus_create(struct request *request)
{
    struct upload upload = {0};
    struct request_buffer buffer;
    char location[128];
    if (upload_adopt(request, &upload, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    corpus_write(buffer.out, &upload.corpus);
    fputs("}\n", buffer.out);
    request_close_reply(request, &buffer, upload.created ? 201 : 200, MEDIA_JSON);
    snprintf(location, sizeof location, "/api/v1/corpora/%s", upload.corpus.sha256);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

/* ---- list ---- */

/* The built-in corpus has no file and no row. */
static const struct corpus corpus_synthetic = {.sha256 = TEXT_SYNTHETIC, .name = TEXT_SYNTHETIC};

static int corpus_row_write(void *self, const struct corpus *corpus)
{
    FILE *out = self;
    fputs(",\n", out);
    corpus_write(out, corpus);
    putc('}', out);
    return 0;
}

enum request_result api_corpus_list(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"corpora\":[\n", buffer.out);
    corpus_write(buffer.out, &corpus_synthetic);
    putc('}', buffer.out);
    if (corpus_list(request->reader, corpus_row_write, buffer.out, &request->err))
        return request_close_fail(request, &buffer, &request->err);
    fputs("]}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

/* ---- one text, counted ---- */

struct counted {
    struct corpus corpus;
    struct spec *spec;
    struct datasets_use text;
};

static int counted_variant(struct request *request, struct spec *spec, struct err *err)
{
    const char *variant = request_query(request, "variant");
    for (int v = VARIANT_RAW; variant && v <= VARIANT_BODY; v++)
        if (strcmp(variant, spec_variant_name((enum spec_variant)v)) == 0) {
            spec->corpus.variant = (enum spec_variant)v;
            variant = NULL;
        }
    if (variant)
        return err_field(err, "variant", "\"%.40s\" is not raw, lf or body", variant);
    return 0;
}

static int counted_tokenizer(struct request *request, struct spec *spec, struct err *err)
{
    const char *tokenizer = request_query(request, "tokenizer");
    const struct bpe *bpe;
    struct err missing;
    err_clear(&missing);
    if (!tokenizer)
        return 0;
    if (datasets_tokenizer(request->server->datasets, tokenizer, &bpe, &missing)) {
        if (missing.code == ERR_NOT_FOUND)
            return err_field(err, "tokenizer", "%.200s", missing.message);
        *err = missing;
        return -1;
    }
    snprintf(spec->corpus.tokenizer, sizeof spec->corpus.tokenizer, "%s", tokenizer);
    return 0;
}

/* Text of the path, in the variant asked for. The smallest groups and windows,
 * so that any text can be counted. */
static int counted_open(struct request *request, struct counted *counted, struct err *err)
{
    struct spec *spec = counted->spec = spec_default();
    if (!spec)
        return err_set(err, ERR_NO_MEMORY, "no memory to count a text");
    if (strcmp(request->params[0], TEXT_SYNTHETIC) == 0)
        counted->corpus = corpus_synthetic;
    else if (corpus_get(request->reader, request->params[0], &counted->corpus, err))
        return -1;
    snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", counted->corpus.sha256);
    spec->groups.size = 1;
    spec->model.seq_len = 1;
    const int no_variant = counted_variant(request, spec, err);
    if (counted_tokenizer(request, spec, err) || no_variant)
        return -1;
    return datasets_get(request->server->datasets, spec, &counted->text, err);
}

static void counted_close(struct request *request, struct counted *counted)
{
    if (counted->text.entry)
        datasets_release(request->server->datasets, &counted->text);
    spec_free(counted->spec);
}

static void counted_write(FILE *out, const struct counted *counted)
{
    const struct frequency *frequency = &counted->text.text->frequency;
    corpus_write(out, &counted->corpus);
    fprintf(out,
            ",\"variant\":\"%s\",\"tokenizer\":\"%s\",\"tokens\":%lld,\"types\":%d,\"once\":%d,"
            "\"vocabulary\":%d",
            spec_variant_name(counted->spec->corpus.variant), counted->spec->corpus.tokenizer,
            (long long)frequency->total, frequency->types, frequency->once, frequency->vocab);
}

enum request_result api_corpus_show(struct request *request)
{
    struct counted counted = {0};
    struct request_buffer buffer;
    if (counted_open(request, &counted, &request->err)) {
        request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        counted_write(buffer.out, &counted);
        fputs("}\n", buffer.out);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    counted_close(request, &counted);
    return REQUEST_DONE;
}

/* ---- frequencies ---- */

struct ranked {
    int32_t id;
    int64_t count;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Used tokens, most frequent first, equal counts by id (malloc). */
static struct ranked *ranked_make(const struct frequency *frequency, int *n)
{
    struct ranked *ranked = malloc(((size_t)frequency->types + 1) * sizeof *ranked);
    *n = 0;
    for (int32_t id = 0; ranked && id < frequency->vocab; id++)
        if (frequency->counts[id] > 0 && *n < frequency->types)
            ranked[(*n)++] = (struct ranked){id, frequency->counts[id]};
    if (ranked)
        qsort(ranked, (size_t)*n, sizeof *ranked, ranked_compare);
    return ranked;
}

static void frequencies_write(FILE *out, const struct ranked *ranked, int n, int limit,
                              const struct bpe *bpe)
{
    fputs(",\"counts_of_counts\":[", out);
    for (int end = n, start; end > 0; end = start) {
        for (start = end - 1; start > 0 && ranked[start - 1].count == ranked[end - 1].count;)
            start--;
        fprintf(out, "%s[%lld,%d]", end < n ? "," : "", (long long)ranked[end - 1].count,
                end - start);
    }
    fputs("],\"ranks\":[", out);
    for (int i = 0; i < n && i < limit; i++) {
        size_t bytes = 0;
        const char *text = bpe_token(bpe, ranked[i].id, &bytes);
        fprintf(out, "%s\n{\"rank\":%d,\"id\":%d,\"text\":", i ? "," : "", i + 1, ranked[i].id);
        json_write_bytes(out, text ? text : "", bytes);
        fprintf(out, ",\"count\":%lld}", (long long)ranked[i].count);
    }
    fputs("]}\n", out);
}

static enum request_result frequencies_answer(struct request *request,
                                              const struct counted *counted, int64_t limit)
{
    int n = 0;
    const struct bpe *bpe = NULL;
    struct request_buffer buffer;
    struct ranked *ranked = ranked_make(&counted->text.text->frequency, &n);
    if (!ranked)
        err_set(&request->err, ERR_NO_MEMORY, "no memory to rank %d types",
                counted->text.text->frequency.types);
    if (!ranked || datasets_tokenizer(request->server->datasets, counted->spec->corpus.tokenizer,
                                      &bpe, &request->err)) {
        request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        counted_write(buffer.out, counted);
        frequencies_write(buffer.out, ranked, n, (int)limit, bpe);
        request_close_reply(request, &buffer, 200, MEDIA_JSON);
    }
    free(ranked);
    return REQUEST_DONE;
}

enum request_result api_corpus_frequencies(struct request *request)
{
    struct counted counted = {0};
    int64_t limit;
    if (request_query_int(request, "limit", 0, FREQUENCIES_MAX, FREQUENCIES_DEFAULT, &limit,
                          &request->err) ||
        counted_open(request, &counted, &request->err))
        request_fail(request, &request->err);
    else
        frequencies_answer(request, &counted, limit);
    counted_close(request, &counted);
    return REQUEST_DONE;
}
