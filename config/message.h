/* message: what server and trainer say to each other, writer and reader side by
 * side. A frame is one line of JSON (the header), ended by '\n', then exactly
 * `payload` bytes (absent = 0) of little-endian binary. One table in message.c
 * lists for every type which fields it carries; an unknown type, a missing
 * or surplus field, a frame above the limits is ERR_PROTOCOL. The version travels in
 * `hello`; both sides are installed together, so versions must be equal.
 *
 *   server -> trainer  run      job spec corpus model dir resume checkpoint_seconds
 *                               ("model": file that it starts from, "": none)
 *                               ("resume": epochs the server has stored; the
 *                               trainer continues from the newest checkpoint in
 *                               dir whose first epoch to come is not above it;
 *                               0 starts anew. So started.epoch <= resume:
 *                               replays, never gaps)
 *                      cancel   job          end without a checkpoint -> cancelled
 *                      stop     job          checkpoint, end -> stopped
 *                      probe    job spec dir(a model's file) n_values(vocabulary) n_tokens
 *                               + payload: n_tokens int32, ids of a text
 *                      exit
 *   trainer -> server  hello    version text(build), then for every device
 *                      device   name kind id bytes(memory) free code(key of the
 *                               reason) text(why unavailable, "" = available)
 *                               utilisation(percent) temperature(Celsius)
 *                               driver(version); -1, "" = not known. Again
 *                               later from a trainer that only watches the cards
 *                      ready    (once; later the end of a job says the same)
 *                      started  job epoch(first to come) bytes precision isa threads name build
 *                      alive    job epoch
 *                      epochs   job from to n_values n_tokens + payload:
 *                               (to-from+1) x { n_values float64, n_tokens float32 }
 *                      checkpointed job epoch
 *                      done     job epoch
 *                      stopped  job epoch
 *                      cancelled job epoch
 *                      failed   job epoch code text
 *                      log      job text     one line for the job's log
 *                      probed   job n_values + payload: n_values float32, log p of every
 *                               token after the text (`failed` if it cannot be had)
 *
 * A struct message is reused: message_read frees what the last one held. */
#ifndef TOKENFATE_MESSAGE_H
#define TOKENFATE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

enum {
    MESSAGE_VERSION = 4, /* another set of fields or meaning of one, another number */
    /* a spec is at most 1 MiB, escaped at most twice that; the other fields are short */
    MESSAGE_HEADER_MAX = (2 << 20) + (64 << 10),
    MESSAGE_PAYLOAD_MAX = 64 << 20, /* 64 MiB: 2800 epochs of 5000 tokens and records */
    MESSAGE_ID_MAX = 37             /* a UUID and its zero */
};

enum message_type {
    MESSAGE_RUN,
    MESSAGE_CANCEL,
    MESSAGE_STOP,
    MESSAGE_EXIT,
    MESSAGE_PROBE,
    MESSAGE_HELLO,
    MESSAGE_DEVICE,
    MESSAGE_READY,
    MESSAGE_STARTED,
    MESSAGE_ALIVE,
    MESSAGE_EPOCHS,
    MESSAGE_CHECKPOINTED,
    MESSAGE_DONE,
    MESSAGE_STOPPED,
    MESSAGE_CANCELLED,
    MESSAGE_FAILED,
    MESSAGE_LOG,
    MESSAGE_PROBED,
    MESSAGE_TYPES
};

/* Strings are owned by the message when read, borrowed when written; NULL
 * stands for a field the type does not carry. */
struct message {
    enum message_type type;
    char job[MESSAGE_ID_MAX];
    char *spec, *corpus, *model, *dir;    /* run, probe */
    char *code, *text, *kind, *id, *name; /* failed, log, device, started */
    char *precision, *isa, *build;        /* started */
    char *driver;                         /* device */
    int64_t version, resume, checkpoint_seconds;
    int64_t epoch, from, to, bytes, free_bytes, threads;
    int64_t n_values, n_tokens;
    int64_t utilisation, temperature; /* device */
    void *payload;
    size_t payload_bytes;
};

/* Write one frame completely to a socket, pipe or file (blocking), without
 * SIGPIPE. ERR_IO if the peer is gone, ERR_TIMEOUT if the socket's send timeout
 * passes, ERR_PROTOCOL for a message that lacks a field of its type. Bytes that
 * are not UTF-8 leave as U+FFFD. Callers serialise writes themselves. */
int message_write(int fd, const struct message *message, struct err *err);

/* Reader with its own buffer over one fd. */
struct message_reader;
struct message_reader *message_reader_new(int fd);
void message_reader_free(struct message_reader *reader);

/* Next frame: 1 and *out filled; 0 when timeout_ms passed without a whole frame
 * (-1 waits for ever); -1 with ERR_IO "closed by peer" at EOF, or ERR_PROTOCOL,
 * which every later call repeats. *out must be zeroed before its
 * first use, and is untouched unless 1 is returned. */
int message_read(struct message_reader *reader, int timeout_ms, struct message *out,
                 struct err *err);

/* Record i (0 is epoch `from`) of the payload of an `epochs` message: n_values numbers into
 * values, n_tokens into tokens; NULL: not copied. A copy, because a double behind an odd
 * number of floats is not aligned. */
void message_record(const struct message *message, int64_t i, double *values, float *tokens);

/* Frees the strings and payload of a message that was read, and zeroes it. */
void message_clear(struct message *message);

#endif
