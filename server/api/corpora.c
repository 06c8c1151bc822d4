/* corpora: the handlers of texts: upload, deletion, list, and how often their tokens occur. The list
 * runs on the HTTP thread, the others on a pool thread. Counts come from the cache of
 * server/datasets; a counted text is held only while its answer is written. */
#include "server/api/corpora.h"
#include "server/api/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/spec.h"
#include "config/text_name.h"
#include "db/corpora.h"
#include "db/limits.h"
#include "lab/text.h"
#include "server/corpora.h"
#include "server/datasets.h"

enum {
    FREQUENCIES_DEFAULT = 1000, /* ranks in an answer */
    FREQUENCIES_MAX = 300000    /* more than any vocabulary has */
};

/* The members of a text, in the open object. */
static void corpus_write_members(struct emit *json, struct request *request,
                                 const struct corpus *corpus)
{
    emit_text(json, "id", corpus->sha256);
    emit_text(json, "name", corpus->name);
    emit_integer(json, "bytes", corpus->bytes);
    emit_time(json, "created_at", corpus->created_at);
    emit_text(json, "user", *corpus->user ? corpus->user : NULL);
    emit_bool(json, "reserved",
              corpora_is_reserved(&request->server->settings, request->reader, corpus));
}

static void corpus_write(struct emit *json, struct request *request, const struct corpus *corpus)
{
    emit_object(json, NULL);
    corpus_write_members(json, request, corpus);
    emit_end(json);
}

/* ---- upload ---- */

/* ?replace=true lets a user give a name of their own to another text, an administrator any. */
static int upload_replace(struct request *request, enum corpus_replace *replace, struct err *err)
{
    const char *value = request_query(request, "replace");
    *replace = CORPUS_REPLACE_NONE;
    if (!value || strcmp(value, "false") == 0)
        return 0;
    if (strcmp(value, "true") != 0)
        return err_field(err, "replace", "\"%.40s\" is not true or false", value);
    *replace = request->user.admin ? CORPUS_REPLACE_ANY : CORPUS_REPLACE_OWN;
    return 0;
}

/* A text is part of what its user stores. */
static int upload_check_limit(const struct request *request, struct err *err)
{
    struct limits limits;
    struct stat file = {0};
    if (request->upload_path && stat(request->upload_path, &file))
        return err_set_errno(err, ERR_IO, "the upload cannot be read");
    return limits_get(request->reader, &request->server->settings, request->user.name, &limits,
                      err) ||
                   limits_admit_bytes(&limits, file.st_size, err)
               ? -1
               : 0;
}

static int upload_store(struct request *request, struct corpus *corpus, int *created,
                        struct err *err)
{
    const char *name = request_query(request, "name");
    enum corpus_replace replace;
    const int bad_name = corpora_check_name(name, err);
    if (upload_replace(request, &replace, err) || bad_name)
        return -1;
    snprintf(corpus->name, sizeof corpus->name, "%s", name);
    snprintf(corpus->user, sizeof corpus->user, "%s", request->user.name);
    if (upload_check_limit(request, err))
        return -1;
    return corpora_upload(&request->server->settings, request->server->db, request->reader,
                          request->upload_path, replace, corpus, created, err);
}

/* Have the text read in the form that jobs ask for by default, so that it is ready when the
 * first one comes. A text that cannot be read so (no such variant) is told when a job asks. */
static void upload_read(const struct request *request, const struct corpus *corpus)
{
    struct err unread = ERR_INIT;
    struct spec *spec = spec_default();
    if (spec) {
        snprintf(spec->corpus.id, sizeof spec->corpus.id, "%s", corpus->sha256);
        datasets_prepare(request->server->datasets, spec, &unread);
    }
    spec_free(spec);
}

enum request_result api_corpus_create(struct request *request)
{
    struct corpus corpus = {0};
    int created = 0;
    struct request_buffer buffer;
    char location[128];
    if (upload_store(request, &corpus, &created, &request->err))
        return request_fail(request, &request->err);
    upload_read(request, &corpus);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    corpus_write(&buffer.json, request, &corpus);
    request_close_reply(request, &buffer, created ? 201 : 200, MEDIA_JSON);
    snprintf(location, sizeof location, "%scorpora/%s", link_root(request), corpus.sha256);
    request_header(request, MHD_HTTP_HEADER_LOCATION, location);
    return REQUEST_DONE;
}

/* ---- deletion ---- */

enum request_result api_corpus_delete(struct request *request)
{
    const struct user *user = &request->user;
    const char *id = request->params[0];
    if (text_name_check(id, "id", &request->err) ||
        corpora_delete(&request->server->settings, request->server->db, request->reader, id,
                       user->admin ? NULL : user->name, user->name, &request->err))
        return request_fail(request, &request->err);
    return request_reply_empty(request);
}

/* ---- list ---- */

/* The built-in text has no file and no row in the database. */
static const struct corpus corpus_synthetic = {.sha256 = TEXT_SYNTHETIC, .name = TEXT_SYNTHETIC};

struct corpus_lister {
    struct request *request;
    struct request_buffer buffer;
};

static int corpus_list_row(void *self, const struct corpus *corpus)
{
    struct corpus_lister *lister = self;
    corpus_write(&lister->buffer.json, lister->request, corpus);
    return 0;
}

enum request_result api_corpus_list(struct request *request)
{
    struct corpus_lister lister = {.request = request};
    struct request_buffer *buffer = &lister.buffer;
    if (request_open(request, buffer))
        return REQUEST_DONE;
    emit_object(&buffer->json, NULL);
    emit_array(&buffer->json, "corpora");
    corpus_write(&buffer->json, request, &corpus_synthetic);
    if (corpus_list(request->reader, corpus_list_row, &lister, &request->err))
        return request_close_fail(request, buffer, &request->err);
    emit_end(&buffer->json);
    emit_end(&buffer->json);
    return request_close_reply(request, buffer, 200, MEDIA_JSON);
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
    struct err missing = ERR_INIT;
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

/* The text of the path, in the variant that the request names, counted. Groups and windows
 * of one token let any text be counted, however short. */
static int counted_open(struct request *request, struct counted *counted, struct err *err)
{
    struct spec *spec = counted->spec = spec_default();
    if (!spec)
        return err_set(err, ERR_NO_MEMORY, "no memory to count a text");
    if (text_name_check(request->params[0], "id", err))
        return -1;
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

/* The members of a counted text, in the open object. */
static void counted_write(struct emit *json, struct request *request, const struct counted *counted)
{
    const struct frequency *frequency = &counted->text.text->frequency;
    corpus_write_members(json, request, &counted->corpus);
    emit_text(json, "variant", spec_variant_name(counted->spec->corpus.variant));
    emit_text(json, "tokenizer", counted->spec->corpus.tokenizer);
    emit_integer(json, "tokens", frequency->total);
    emit_integer(json, "types", frequency->types);
    emit_integer(json, "once", frequency->once);
    emit_integer(json, "vocabulary", frequency->vocab);
}

enum request_result api_corpus_show(struct request *request)
{
    struct counted counted = {0};
    struct request_buffer buffer;
    if (counted_open(request, &counted, &request->err)) {
        request_fail(request, &request->err);
    } else if (!request_open(request, &buffer)) {
        emit_object(&buffer.json, NULL);
        counted_write(&buffer.json, request, &counted);
        emit_end(&buffer.json);
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

/* Pairs [count, number of types with it], rarest first. Equal counts are neighbours. */
static void write_counts_of_counts(struct emit *json, const struct ranked *ranked, int n)
{
    emit_array(json, "counts_of_counts");
    for (int end = n, start; end > 0; end = start) {
        for (start = end - 1; start > 0 && ranked[start - 1].count == ranked[end - 1].count;)
            start--;
        emit_array(json, NULL);
        emit_integer(json, NULL, ranked[end - 1].count);
        emit_integer(json, NULL, end - start);
        emit_end(json);
    }
    emit_end(json);
}

static void write_ranks(struct emit *json, const struct ranked *ranked, int n,
                        const struct bpe *bpe)
{
    emit_array(json, "ranks");
    for (int i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *text = bpe_token(bpe, ranked[i].id, &bytes);
        emit_object(json, NULL);
        emit_integer(json, "rank", i + 1);
        emit_integer(json, "id", ranked[i].id);
        emit_bytes(json, "text", text ? text : "", bytes);
        emit_integer(json, "count", ranked[i].count);
        emit_end(json);
    }
    emit_end(json);
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
        emit_object(&buffer.json, NULL);
        counted_write(&buffer.json, request, counted);
        write_counts_of_counts(&buffer.json, ranked, n);
        write_ranks(&buffer.json, ranked, n < limit ? n : (int)limit, bpe);
        emit_end(&buffer.json);
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
