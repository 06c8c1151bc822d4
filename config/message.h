/* message: the protocol between server and trainer: the messages, their writer and their
 * reader. The server side is used by server/queue/ and `tokenfate run`, the trainer side by
 * gpu/. An object is used by one thread at a time; different descriptors by any threads.
 *
 * Frame: one line of JSON (the header), ended by '\n', then exactly `payload` bytes (absent =
 * 0) of little-endian binary. One table in message.c lists the fields of every type. An
 * unknown type, a missing or surplus field, or a frame above the limits is ERR_PROTOCOL. The
 * version travels in `hello`; both sides are installed together, so versions must be equal.
 *
 * Checkpoint cadence: `run` carries the server's setting checkpoint_seconds (config/settings.c)
 * to the trainer. gpu/train.c decides when a checkpoint is due: between two steps, when that
 * time has passed, and never so often that writing takes more than a tenth of the time. 0 means
 * after every step, whatever it costs.
 *
 *   server -> trainer  run      job spec corpus model dir resume checkpoint_seconds
 *                               ("model": file to start from, "": none)
 *                               ("resume": epoch of the first record that the
 *                               server lacks; the trainer continues from the newest
 *                               checkpoint in dir whose first record to come is
 *                               not above it; 0 starts anew. So started.epoch <=
 *                               resume: replays, never gaps)
 *                      cancel   job          end without a checkpoint -> cancelled
 *                      stop     job          checkpoint, end -> stopped
 *                      probe    job spec dir(a model's file) n_values(vocabulary) n_tokens
 *                               + payload: n_tokens int32, ids of a text
 *                      read     spec corpus(a text's file) dir(folder of its token files): make
 *                               the files (lab/token_stream.h) that the spec needs, at the
 *                               lowest priority of the processor
 *                      exit
 *   trainer -> server  hello    version text(build), then for every device
 *                      device   name kind id bytes(memory) free code(key of the
 *                               reason) text(why unavailable, "" = available)
 *                               utilisation(percent) temperature(Celsius)
 *                               driver(version); -1, "" = unknown. identity: all
 *                               that a proof of the card holds for, "" = none. A
 *                               watcher repeats it, without identity
 *                      ready    (once; later the end of a job means the same)
 *                      started  job epoch(first to come) bytes precision isa threads name build
 *                      alive    job epoch
 *                      epochs   job from to n n_values n_tokens + payload:
 *                               n x { n_values float64, n_tokens float32 }, the records of
 *                               from .. to (config/record_grid.h)
 *                      checkpointed job epoch
 *                      done     job epoch
 *                      stopped  job epoch
 *                      cancelled job epoch
 *                      failed   job epoch code text
 *                      log      job text     one line for the job's log
 *                      probed   job n_values + payload: n_values float32, log p of every
 *                               token after the text (`failed` if there is an error)
 *                      read_done   n_tokens
 *                      read_failed code pointer(field of the spec, or "") text
 *
 * A struct message is reused: message_read frees the content of the one before. */
#ifndef TOKENFATE_MESSAGE_H
#define TOKENFATE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

enum {
    MESSAGE_VERSION = 7, /* grows with every change of a field or of its meaning */
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
    MESSAGE_READ,
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
    MESSAGE_NOTICE,
    MESSAGE_PROBED,
    MESSAGE_READ_DONE,
    MESSAGE_READ_FAILED,
    MESSAGE_TYPES
};

/* Strings and payload are owned by the message when it was read, borrowed when it is written.
 * NULL: a field that the type does not carry. */
struct message {
    enum message_type type;
    char job[MESSAGE_ID_MAX];
    char *spec, *corpus, *model, *dir;    /* run, probe, read */
    char *code, *text, *kind, *id, *name; /* failed, log, device, started */
    char *precision, *isa, *build;        /* started */
    char *driver, *identity;              /* device */
    char *pointer;                        /* read_failed */
    int64_t version, resume, checkpoint_seconds;
    int64_t epoch, from, to, n, bytes, free_bytes, threads;
    int64_t n_values, n_tokens;
    int64_t utilisation, temperature; /* device */
    void *payload;
    size_t payload_bytes;
};

/* Write one whole frame to a socket, pipe or file (blocking), without SIGPIPE. ERR_IO if the
 * peer is gone, ERR_TIMEOUT if the socket's send timeout passes, ERR_PROTOCOL for a message
 * that lacks a field of its type. A byte that is not UTF-8 is sent as U+FFFD. Writes to one
 * descriptor from several threads must be serialised by the callers. */
int message_write(int fd, const struct message *message, struct err *err);

/* Reader with its own buffer over one fd. */
struct message_reader;
struct message_reader *message_reader_new(int fd);
void message_reader_free(struct message_reader *reader);

/* Read the next frame: 1 and *out; 0 if timeout_ms passed without a whole frame (-1 waits for
 * ever); -1 with ERR_IO "closed by peer" at the end, ERR_NO_MEMORY, or ERR_PROTOCOL, which every
 * later call repeats. *out must be zeroed before its first use, and is untouched unless 1 is
 * returned. */
int message_read(struct message_reader *reader, int timeout_ms, struct message *out,
                 struct err *err);

/* Copy record i (0 is that of epoch `from`) of an `epochs` message: n_values numbers to values,
 * n_tokens to tokens; NULL: not copied. A copy, because a double after an odd number of floats
 * is not aligned. */
void message_record(const struct message *message, int64_t i, double *values, float *tokens);

/* Free the strings and the payload of a message that was read, and zero it. */
void message_clear(struct message *message);

#endif
