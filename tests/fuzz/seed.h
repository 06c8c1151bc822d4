/* seed: a fuzzer's first corpus, written at its start into the first folder on
 * its command line, so that nothing of it needs to be kept with the sources. */
#ifndef TOKENFATE_FUZZ_SEED_H
#define TOKENFATE_FUZZ_SEED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What libFuzzer calls: once at the start, then for every input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Stop, as a finding, when a property does not hold. */
#define FUZZ_REQUIRE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Write one seed; index keeps the names apart. Without a folder: nothing. */
static inline void seed_write(int argc, char **argv, int index, const void *bytes, size_t n)
{
    char path[4096];
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            continue;
        snprintf(path, sizeof path, "%s/seed-%d", argv[i], index);
        FILE *file = fopen(path, "wb");
        if (file == NULL)
            return;
        fwrite(bytes, 1, n, file);
        fclose(file);
        return;
    }
}

/* Inputs that start with this byte are spelled with words: 'A' is the first. So
 * mutation keeps to the grammar of a format that random bytes rarely meet. */
enum { SEED_WORDS = 'w' };

/* The text that n bytes spell with a list of words, in out (room bytes); its
 * length. What does not fit is left out. */
static inline size_t seed_spell(const char *const *words, size_t n_words, const uint8_t *data,
                                size_t n, char *out, size_t room)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        const char *word = words[(uint8_t)(data[i] - 'A') % n_words];
        size_t bytes = strlen(word);
        if (bytes > room - length)
            break;
        memcpy(out + length, word, bytes);
        length += bytes;
    }
    return length;
}

#endif
