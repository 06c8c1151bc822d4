/* reading_list: see reading_list.h. The entries lie in an array in the order in which they came or
 * were tried; a new one takes the place of the oldest that has failed when the array is full. */
#include "server/reading_list.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/clock.h"

struct entry {
    struct reading_key key;
    int lost, has_failed;
    int64_t pause, due; /* ms of the pause after its last failure; its end, clock_monotonic_ms */
    struct reading_failure failure;
};

struct reading_list {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* an entry came, or a wake */
    int n, woken;
    struct entry entries[READING_LIST_MAX];
};

int reading_list_open(struct reading_list **out, struct err *err)
{
    struct reading_list *list = calloc(1, sizeof *list);
    pthread_condattr_t monotonic;
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for the list of texts to read");
    pthread_mutex_init(&list->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&list->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = list;
    return 0;
}

void reading_list_close(struct reading_list *list)
{
    if (!list)
        return;
    pthread_cond_destroy(&list->changed);
    pthread_mutex_destroy(&list->mutex);
    free(list);
}

static struct reading_key reading_key(const struct spec *spec)
{
    struct reading_key key = {.variant = spec->corpus.variant,
                              .words = spec->data.holdout && !spec->corpus.shuffled};
    memcpy(key.text, spec->corpus.id, sizeof key.text);
    memcpy(key.tokenizer, spec->corpus.tokenizer, sizeof key.tokenizer);
    return key;
}

/* ---- entries; callers hold the mutex ---- */

static struct entry *find(struct reading_list *list, const struct reading_key *key)
{
    for (int i = 0; i < list->n; i++) {
        const struct reading_key *there = &list->entries[i].key;
        if (strcmp(there->text, key->text) == 0 && there->variant == key->variant &&
            strcmp(there->tokenizer, key->tokenizer) == 0 && there->words == key->words)
            return &list->entries[i];
    }
    return NULL;
}

static void drop(struct reading_list *list, struct entry *entry)
{
    struct entry *const end = list->entries + list->n--;
    memmove(entry, entry + 1, (size_t)(end - entry - 1) * sizeof *entry);
}

static struct entry *add(struct reading_list *list, const struct reading_key *key)
{
    for (int i = 0; list->n == READING_LIST_MAX && i < list->n; i++)
        if (list->entries[i].has_failed)
            drop(list, &list->entries[i]);
    if (list->n == READING_LIST_MAX)
        return NULL;
    struct entry *entry = &list->entries[list->n++];
    *entry = (struct entry){.key = *key};
    pthread_cond_signal(&list->changed);
    return entry;
}

/* ---- handlers ---- */

int reading_list_want(struct reading_list *list, const struct spec *spec, struct err *err)
{
    const struct reading_key key = reading_key(spec);
    pthread_mutex_lock(&list->mutex);
    const struct entry *entry = find(list, &key);
    if (!entry)
        entry = add(list, &key);
    if (!entry)
        err_set(err, ERR_TOO_MANY, "%d texts are to be read already", READING_LIST_MAX);
    else if (!entry->has_failed)
        err_set(err, ERR_UNAVAILABLE, "its text is being read%s%s",
                *entry->failure.text ? "; it is tried again after: " : "", entry->failure.text);
    else if (entry->failure.pointer[0])
        err_field(err, entry->failure.pointer, "%s", entry->failure.text);
    else
        err_set(err, entry->failure.code, "%s", entry->failure.text);
    pthread_mutex_unlock(&list->mutex);
    return -1;
}

/* ---- the reader ---- */

/* The first entry that may be read at `now`, or NULL; *next: when to look again, at the latest. */
static const struct entry *due(const struct reading_list *list, int64_t now, int64_t *next)
{
    for (int i = 0; i < list->n; i++) {
        const struct entry *entry = &list->entries[i];
        if (entry->has_failed)
            continue;
        if (entry->due <= now)
            return entry;
        if (entry->due < *next)
            *next = entry->due;
    }
    return NULL;
}

static void wait_until(struct reading_list *list, int64_t ms)
{
    const struct timespec until = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    pthread_cond_timedwait(&list->changed, &list->mutex, &until);
}

int reading_list_next(struct reading_list *list, struct reading_key *key, int wait_ms)
{
    const int64_t end = clock_monotonic_ms() + wait_ms;
    const struct entry *entry = NULL;
    pthread_mutex_lock(&list->mutex);
    for (int64_t now; (now = clock_monotonic_ms()) < end && !list->woken;) {
        int64_t next = end;
        if ((entry = due(list, now, &next)))
            break;
        wait_until(list, next);
    }
    list->woken = 0;
    if (entry)
        *key = entry->key;
    pthread_mutex_unlock(&list->mutex);
    return entry != NULL;
}

/* A failure that may pass: the entry stands behind the others until its pause is over. */
static void try_later(struct reading_list *list, struct entry *entry)
{
    struct entry late = *entry;
    late.pause = late.pause ? 2 * late.pause : READING_LIST_PAUSE_MS;
    if (late.pause > READING_LIST_PAUSE_MAX_MS)
        late.pause = READING_LIST_PAUSE_MAX_MS;
    late.due = clock_monotonic_ms() + late.pause;
    drop(list, entry);
    list->entries[list->n++] = late;
}

void reading_list_done(struct reading_list *list, const struct reading_key *key,
                       const struct reading_failure *failure)
{
    pthread_mutex_lock(&list->mutex);
    struct entry *entry = find(list, key);
    if (!failure) {
        drop(list, entry);
    } else {
        entry->failure = *failure;
        entry->lost += failure->code == ERR_DEVICE;
        entry->has_failed = failure->code == ERR_INVALID || entry->lost == READING_LIST_TRIES;
        if (!entry->has_failed)
            try_later(list, entry);
    }
    pthread_mutex_unlock(&list->mutex);
}

void reading_list_drop_lost(struct reading_list *list)
{
    pthread_mutex_lock(&list->mutex);
    for (int i = list->n - 1; i >= 0; i--)
        if (list->entries[i].has_failed && list->entries[i].failure.code != ERR_INVALID)
            drop(list, &list->entries[i]);
    pthread_mutex_unlock(&list->mutex);
}

void reading_list_wake(struct reading_list *list)
{
    pthread_mutex_lock(&list->mutex);
    list->woken = 1;
    pthread_cond_signal(&list->changed);
    pthread_mutex_unlock(&list->mutex);
}
