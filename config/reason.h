/* reason: why a job waits or is held, as a code for programs and a sentence for people. The table
 * of codes is here; the sentence comes from whoever knows the numbers, or from the table. Pure. */
#ifndef TOKENFATE_REASON_H
#define TOKENFATE_REASON_H

enum {
    REASON_NAME_MAX = 32, /* bytes of a code's name, with its zero */
    REASON_MAX = 400      /* bytes of a sentence, with its zero */
};

enum reason_code {
    REASON_NONE,
    /* a queued job */
    REASON_BUSY,
    REASON_SHARE,
    REASON_ORDER,
    REASON_SLICED,
    REASON_LIMIT_USER,
    REASON_LIMIT_SWEEP,
    REASON_MEMORY,
    REASON_MEMORY_FOREIGN,
    REASON_THREADS,
    REASON_DEVICE_UNAVAILABLE,
    REASON_PROVING,
    REASON_PROVENANCE,
    REASON_REFUSED,
    REASON_READING,
    REASON_QUEUE_CLOSED,
    REASON_DISK,
    /* a queued or a held one */
    REASON_AFTER,
    /* a held one */
    REASON_HELD,
    REASON_USER_DISABLED,
    REASON_TIME_LIMIT,
    REASON_CODES
};

struct reason {
    enum reason_code code;
    char message[REASON_MAX];
};

/* "" for REASON_NONE. */
const char *reason_name(enum reason_code code);
/* REASON_NONE: NULL, or no code has that name. */
enum reason_code reason_from_name(const char *name);
/* The sentence where nobody knows more than the code; "" for REASON_NONE. */
const char *reason_sentence(enum reason_code code);

/* Set code and sentence (printf format); a longer sentence is cut. */
void reason_set(struct reason *reason, enum reason_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
