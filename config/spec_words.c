/* spec_words: see spec_words.h. */
#include "config/spec_words.h"

#include <stddef.h>

const char *const spec_words_variant[] = {"raw", "lf", "body", NULL};
const char *const spec_words_tokenizer[] = {"gpt2", "cl100k_base", "bytes", NULL};
const char *const spec_words_vocabulary[] = {"all", "used", NULL};
const char *const spec_words_tying[] = {"tied", "untied", "untied_equal", NULL};
const char *const spec_words_activation[] = {"gelu", "gelu_new", "relu", NULL};
const char *const spec_words_head[] = {"full", "adaptive", NULL};
const char *const spec_words_sampling[] = {"random", "shuffle", NULL};
const char *const spec_words_optimizer[] = {"sgd", "momentum", "adam", "adamw", NULL};
const char *const spec_words_precision[] = {"auto", "fp32", "bf16", NULL};
const char *const spec_words_selection[] = {"frequency", "published-2025", "published-2026", NULL};
const char *const spec_words_tie_break[] = {"seeded", "id", NULL};
const char *const spec_words_mask[] = {"none", "columns", "windows", "positions", NULL};
const char *const spec_words_group[] = {"most_common", "least_common", "never_used", NULL};
