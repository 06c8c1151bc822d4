/* datasets: see datasets.h. `mutex` guards the list, the user counts and the tokenizers;
 * it is never held while a text is read. `loading` serialises reading and tokenising, so
 * that two requests for a new text do the work once; whoever holds it takes `mutex`
 * inside, never the reverse. */
#include "server/datasets.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/log.h"
#include "lab/text.h"
#include "lab/token_stream.h"
#include "server/data.h"
#include "server/reading_list.h"

enum { DATASETS_KEY_MAX = 256 };

struct datasets_entry {
    char key[DATASETS_KEY_MAX];
    struct dataset *dataset;
    int users;       /* datasets_use that refer to it; above 0 it is never freed */
    int64_t used_at; /* tick of the last use */
    struct datasets_entry *next;
};

struct datasets {
    const struct settings *settings;
    struct reading_list *reading;
    pthread_mutex_t mutex, loading;
    struct datasets_entry *entries;
    int64_t ticks;
    int n_tokenizers;
    char names[DATASETS_TOKENIZERS_MAX][16];
    struct bpe *tokenizers[DATASETS_TOKENIZERS_MAX];
};

int datasets_open(const struct settings *settings, struct datasets **out, struct err *err)
{
    struct datasets *datasets = calloc(1, sizeof *datasets);
    if (!datasets)
        return err_set(err, ERR_NO_MEMORY, "no memory for the dataset cache");
    if (reading_list_open(&datasets->reading, err)) {
        free(datasets);
        return -1;
    }
    datasets->settings = settings;
    pthread_mutex_init(&datasets->mutex, NULL);
    pthread_mutex_init(&datasets->loading, NULL);
    *out = datasets;
    return 0;
}

static void datasets_free_entry(struct datasets_entry *entry)
{
    dataset_close(entry->dataset);
    free(entry);
}

void datasets_close(struct datasets *datasets)
{
    if (!datasets)
        return;
    while (datasets->entries) {
        struct datasets_entry *entry = datasets->entries;
        datasets->entries = entry->next;
        datasets_free_entry(entry);
    }
    for (int i = 0; i < datasets->n_tokenizers; i++)
        bpe_close(datasets->tokenizers[i]);
    reading_list_close(datasets->reading);
    pthread_mutex_destroy(&datasets->mutex);
    pthread_mutex_destroy(&datasets->loading);
    free(datasets);
}

struct reading_list *datasets_reading(struct datasets *datasets)
{
    return datasets->reading;
}

/* Clients read this message, so it does not name the path of the table. */
static int no_tokenizer(const char *name, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no tokenizer \"%.40s\"", name);
}

static int datasets_map(struct datasets *datasets, const char *name, const struct bpe **out,
                        struct err *err)
{
    for (int i = 0; i < datasets->n_tokenizers; i++)
        if (strcmp(datasets->names[i], name) == 0) {
            *out = datasets->tokenizers[i];
            return 0;
        }
    int n = datasets->n_tokenizers;
    if (n == DATASETS_TOKENIZERS_MAX || strlen(name) >= sizeof datasets->names[0])
        return no_tokenizer(name, err);
    if (bpe_open(datasets->settings->share, name, &datasets->tokenizers[n], err))
        return err && err->code == ERR_NOT_FOUND ? no_tokenizer(name, err) : -1;
    strcpy(datasets->names[n], name);
    *out = datasets->tokenizers[n];
    datasets->n_tokenizers++;
    return 0;
}

int datasets_tokenizer(struct datasets *datasets, const char *name, const struct bpe **out,
                       struct err *err)
{
    pthread_mutex_lock(&datasets->mutex);
    int result = datasets_map(datasets, name, out, err);
    pthread_mutex_unlock(&datasets->mutex);
    return result;
}

/* ---- the list; callers hold `mutex` ---- */

static struct datasets_entry *datasets_find(struct datasets *datasets, const char *key)
{
    for (struct datasets_entry *entry = datasets->entries; entry; entry = entry->next)
        if (strcmp(entry->key, key) == 0) {
            entry->users++;
            entry->used_at = ++datasets->ticks;
            return entry;
        }
    return NULL;
}

/* Evict the least recently used idle entries until both limits hold. The last entry stays,
 * whatever its size. */
static void datasets_trim(struct datasets *datasets)
{
    for (;;) {
        int n = 0;
        int64_t bytes = 0;
        struct datasets_entry **oldest = NULL;
        for (struct datasets_entry **at = &datasets->entries; *at; at = &(*at)->next) {
            n++;
            bytes += dataset_memory((*at)->dataset);
            if (!(*at)->users && (!oldest || (*at)->used_at < (*oldest)->used_at))
                oldest = at;
        }
        if (!oldest || (n <= DATASETS_KEPT && bytes <= DATASETS_BYTES_MAX) || n == 1)
            return;
        struct datasets_entry *entry = *oldest;
        *oldest = entry->next;
        datasets_free_entry(entry);
    }
}

/* ---- keys ---- */

static void datasets_key(const struct spec *spec, char *key)
{
    /* All inputs of the token stream. The seed is one only if it permutes the stream. */
    snprintf(key, DATASETS_KEY_MAX, "%s %d %s %d %d %d %lld", spec->corpus.id,
             (int)spec->corpus.variant, spec->corpus.tokenizer, (int)spec->corpus.vocabulary,
             spec->data.holdout, spec->corpus.shuffled,
             spec->corpus.shuffled ? (long long)spec_seed_groups(spec) : 0LL);
}

/* The spec with the weakest requirements, so that its dataset serves every spec with the
 * same key. datasets_get checks the real requirements of each spec with dataset_check. */
static struct spec datasets_least(const struct spec *spec)
{
    struct spec least = *spec;
    least.groups.size = 1;
    least.groups.selection = SELECTION_FREQUENCY;
    least.groups.n_custom = 0;
    least.model.seq_len = 1;
    least.model.n_cutoffs = 0;
    least.data.oversample_group[0] = '\0';
    least.data.inject.tokens = 0;
    least.eval.windows = 0;
    return least;
}

/* ---- token files ---- */

int datasets_folder(const struct settings *settings, const char *sha256, char *path, size_t n,
                    struct err *err)
{
    return data_path(settings, path, n, err, "tokens/%s", sha256);
}

/* Make the token files that the spec needs, or ask for them. The caller holds `loading`. */
static int datasets_make(struct datasets *datasets, const struct spec *spec, const struct bpe *bpe,
                         struct err *err)
{
    char folder[DATA_PATH_MAX], path[DATA_PATH_MAX];
    struct stat info;
    size_t n;
    if (datasets_folder(datasets->settings, spec->corpus.id, folder, sizeof folder, err) ||
        data_path(datasets->settings, path, sizeof path, err, "corpora/%s", spec->corpus.id))
        return -1;
    if (token_stream_is_made(spec, folder))
        return 0;
    if (stat(path, &info) == 0 && info.st_size >= DATASETS_READ_NOW)
        return reading_list_want(datasets->reading, spec, err);
    return token_stream_make(spec, path, bpe, folder, &n, err);
}

int datasets_prepare(struct datasets *datasets, const struct spec *spec, struct err *err)
{
    const struct bpe *bpe = NULL;
    if (strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0)
        return 0;
    if (datasets_tokenizer(datasets, spec->corpus.tokenizer, &bpe, err))
        return -1;
    pthread_mutex_lock(&datasets->loading);
    const int result = datasets_make(datasets, spec, bpe, err);
    pthread_mutex_unlock(&datasets->loading);
    return result;
}

int datasets_remove_damaged(struct datasets *datasets, const struct spec *spec)
{
    const struct bpe *bpe = NULL;
    struct token_stream stream = {0};
    char folder[DATA_PATH_MAX];
    struct err err = ERR_INIT;
    if (strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0 ||
        datasets_tokenizer(datasets, spec->corpus.tokenizer, &bpe, &err) ||
        datasets_folder(datasets->settings, spec->corpus.id, folder, sizeof folder, &err))
        return 0;
    const int damaged =
        token_stream_open(spec, folder, bpe, &stream, &err) && err.code == ERR_CORRUPT;
    token_stream_free(&stream);
    if (damaged)
        token_stream_remove(spec, folder);
    return damaged;
}

/* ---- use ---- */

/* A damaged file is made again, at once or by way of the reading list. */
static int datasets_open_text(struct datasets *datasets, const struct spec *spec,
                              const struct bpe *bpe, struct dataset **out, struct err *err)
{
    const struct spec least = datasets_least(spec);
    char folder[DATA_PATH_MAX] = "";
    struct err cause = ERR_INIT;
    if (strcmp(spec->corpus.id, TEXT_SYNTHETIC) == 0)
        return dataset_open(&least, folder, bpe, out, err);
    if (datasets_folder(datasets->settings, spec->corpus.id, folder, sizeof folder, err))
        return -1;
    if (!dataset_open(&least, folder, bpe, out, &cause))
        return 0;
    if (cause.code != ERR_CORRUPT) {
        *err = cause;
        return -1;
    }
    log_line(LOG_WARNING, "%s; they are made again", cause.message);
    token_stream_remove(spec, folder);
    if (datasets_make(datasets, spec, bpe, err))
        return -1;
    return dataset_open(&least, folder, bpe, out, err);
}

static int datasets_load(struct datasets *datasets, const struct spec *spec, const struct bpe *bpe,
                         const char *key, struct datasets_entry **out, struct err *err)
{
    struct datasets_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return err_set(err, ERR_NO_MEMORY, "no memory for a dataset");
    if (datasets_open_text(datasets, spec, bpe, &entry->dataset, err)) {
        free(entry);
        return -1;
    }
    strcpy(entry->key, key);
    entry->users = 1;
    pthread_mutex_lock(&datasets->mutex);
    entry->used_at = ++datasets->ticks;
    entry->next = datasets->entries;
    datasets->entries = entry;
    datasets_trim(datasets);
    pthread_mutex_unlock(&datasets->mutex);
    *out = entry;
    return 0;
}

static struct datasets_entry *datasets_take(struct datasets *datasets, const char *key)
{
    pthread_mutex_lock(&datasets->mutex);
    struct datasets_entry *entry = datasets_find(datasets, key);
    pthread_mutex_unlock(&datasets->mutex);
    return entry;
}

int datasets_get(struct datasets *datasets, const struct spec *spec, struct datasets_use *out,
                 struct err *err)
{
    char key[DATASETS_KEY_MAX];
    const struct bpe *bpe = NULL;
    struct datasets_use use = {0};
    datasets_key(spec, key);
    if (datasets_tokenizer(datasets, spec->corpus.tokenizer, &bpe, err))
        return -1;
    struct datasets_entry *entry = datasets_take(datasets, key);
    if (!entry) {
        pthread_mutex_lock(&datasets->loading);
        int failed = 0;
        if (!(entry = datasets_take(datasets, key)))
            failed = (strcmp(spec->corpus.id, TEXT_SYNTHETIC) != 0 &&
                      datasets_make(datasets, spec, bpe, err)) ||
                     datasets_load(datasets, spec, bpe, key, &entry, err);
        pthread_mutex_unlock(&datasets->loading);
        if (failed && err && err->code == ERR_INVALID)
            dataset_check_cutoffs(spec, bpe_vocabulary(bpe), err);
        if (failed)
            return -1;
    }
    use.entry = entry;
    use.text = entry->dataset;
    if (dataset_check(use.text, spec, bpe, &use.groups, &use.steps_per_epoch, err)) {
        datasets_release(datasets, &use);
        return -1;
    }
    *out = use;
    return 0;
}

void datasets_release(struct datasets *datasets, struct datasets_use *use)
{
    struct datasets_entry *entry = use->entry;
    groups_free(&use->groups);
    pthread_mutex_lock(&datasets->mutex);
    entry->users--;
    datasets_trim(datasets);
    pthread_mutex_unlock(&datasets->mutex);
}
