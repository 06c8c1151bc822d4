/* message: see message.h. Two tables: `message_fields` has the fields that a header can carry,
 * `message_types` has for every type its word and the set of its fields. Writer and reader
 * walk the same tables, so they cannot disagree.
 *
 * Reader: one frame is in progress. Its header collects in a buffer until '\n'; then the
 * payload is read directly into its final memory. The peer is not trusted: sizes are checked
 * before memory is allocated, and the whole frame before the caller sees it. */
#include "config/message.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/emit.h"

enum { MESSAGE_BLOCK = 1 << 16 }; /* bytes per read(2) of a header */

enum message_field {
    FIELD_JOB,
    FIELD_SPEC,
    FIELD_CORPUS,
    FIELD_MODEL,
    FIELD_DIR,
    FIELD_CODE,
    FIELD_TEXT,
    FIELD_KIND,
    FIELD_ID,
    FIELD_NAME,
    FIELD_PRECISION,
    FIELD_ISA,
    FIELD_BUILD,
    FIELD_DRIVER,
    FIELD_IDENTITY,
    FIELD_POINTER,
    FIELD_VERSION,
    FIELD_RESUME,
    FIELD_CHECKPOINT_SECONDS,
    FIELD_EPOCH,
    FIELD_FROM,
    FIELD_TO,
    FIELD_N,
    FIELD_BYTES,
    FIELD_FREE,
    FIELD_THREADS,
    FIELD_N_VALUES,
    FIELD_N_TOKENS,
    FIELD_UTILISATION,
    FIELD_TEMPERATURE,
    MESSAGE_FIELDS
};

enum message_form { FORM_JOB, FORM_TEXT, FORM_NUMBER };

#define AT(member) offsetof(struct message, member)

static const struct {
    const char *name;
    enum message_form form;
    size_t offset;
} message_fields[MESSAGE_FIELDS] = {
    [FIELD_JOB] = {"job", FORM_JOB, AT(job)},
    [FIELD_SPEC] = {"spec", FORM_TEXT, AT(spec)},
    [FIELD_CORPUS] = {"corpus", FORM_TEXT, AT(corpus)},
    [FIELD_MODEL] = {"model", FORM_TEXT, AT(model)},
    [FIELD_DIR] = {"dir", FORM_TEXT, AT(dir)},
    [FIELD_CODE] = {"code", FORM_TEXT, AT(code)},
    [FIELD_TEXT] = {"text", FORM_TEXT, AT(text)},
    [FIELD_KIND] = {"kind", FORM_TEXT, AT(kind)},
    [FIELD_ID] = {"id", FORM_TEXT, AT(id)},
    [FIELD_NAME] = {"name", FORM_TEXT, AT(name)},
    [FIELD_PRECISION] = {"precision", FORM_TEXT, AT(precision)},
    [FIELD_ISA] = {"isa", FORM_TEXT, AT(isa)},
    [FIELD_BUILD] = {"build", FORM_TEXT, AT(build)},
    [FIELD_DRIVER] = {"driver", FORM_TEXT, AT(driver)},
    [FIELD_IDENTITY] = {"identity", FORM_TEXT, AT(identity)},
    [FIELD_POINTER] = {"pointer", FORM_TEXT, AT(pointer)},
    [FIELD_VERSION] = {"version", FORM_NUMBER, AT(version)},
    [FIELD_RESUME] = {"resume", FORM_NUMBER, AT(resume)},
    [FIELD_CHECKPOINT_SECONDS] = {"checkpoint_seconds", FORM_NUMBER, AT(checkpoint_seconds)},
    [FIELD_EPOCH] = {"epoch", FORM_NUMBER, AT(epoch)},
    [FIELD_FROM] = {"from", FORM_NUMBER, AT(from)},
    [FIELD_TO] = {"to", FORM_NUMBER, AT(to)},
    [FIELD_N] = {"n", FORM_NUMBER, AT(n)},
    [FIELD_BYTES] = {"bytes", FORM_NUMBER, AT(bytes)},
    [FIELD_FREE] = {"free", FORM_NUMBER, AT(free_bytes)},
    [FIELD_THREADS] = {"threads", FORM_NUMBER, AT(threads)},
    [FIELD_N_VALUES] = {"n_values", FORM_NUMBER, AT(n_values)},
    [FIELD_N_TOKENS] = {"n_tokens", FORM_NUMBER, AT(n_tokens)},
    [FIELD_UTILISATION] = {"utilisation", FORM_NUMBER, AT(utilisation)},
    [FIELD_TEMPERATURE] = {"temperature", FORM_NUMBER, AT(temperature)},
};

#define F(field) (1u << FIELD_##field)

static const struct {
    const char *word;
    unsigned fields;
} message_types[MESSAGE_TYPES] = {
    [MESSAGE_RUN] = {"run", F(JOB) | F(SPEC) | F(CORPUS) | F(MODEL) | F(DIR) | F(RESUME) |
                                F(CHECKPOINT_SECONDS)},
    [MESSAGE_CANCEL] = {"cancel", F(JOB)},
    [MESSAGE_STOP] = {"stop", F(JOB)},
    [MESSAGE_EXIT] = {"exit", 0},
    [MESSAGE_PROBE] = {"probe", F(JOB) | F(SPEC) | F(DIR) | F(N_VALUES) | F(N_TOKENS)},
    [MESSAGE_READ] = {"read", F(SPEC) | F(CORPUS) | F(DIR)},
    [MESSAGE_HELLO] = {"hello", F(VERSION) | F(TEXT)},
    [MESSAGE_DEVICE] = {"device", F(NAME) | F(KIND) | F(ID) | F(BYTES) | F(FREE) | F(CODE) |
                                      F(TEXT) | F(UTILISATION) | F(TEMPERATURE) | F(DRIVER) |
                                      F(IDENTITY)},
    [MESSAGE_READY] = {"ready", 0},
    [MESSAGE_STARTED] = {"started", F(JOB) | F(EPOCH) | F(BYTES) | F(PRECISION) | F(ISA) |
                                        F(THREADS) | F(NAME) | F(BUILD)},
    [MESSAGE_ALIVE] = {"alive", F(JOB) | F(EPOCH)},
    [MESSAGE_EPOCHS] = {"epochs", F(JOB) | F(FROM) | F(TO) | F(N) | F(N_VALUES) | F(N_TOKENS)},
    [MESSAGE_CHECKPOINTED] = {"checkpointed", F(JOB) | F(EPOCH)},
    [MESSAGE_DONE] = {"done", F(JOB) | F(EPOCH)},
    [MESSAGE_STOPPED] = {"stopped", F(JOB) | F(EPOCH)},
    [MESSAGE_CANCELLED] = {"cancelled", F(JOB) | F(EPOCH)},
    [MESSAGE_FAILED] = {"failed", F(JOB) | F(EPOCH) | F(CODE) | F(TEXT)},
    [MESSAGE_LOG] = {"log", F(JOB) | F(TEXT)},
    [MESSAGE_NOTICE] = {"notice", F(JOB) | F(TEXT)},
    [MESSAGE_PROBED] = {"probed", F(JOB) | F(N_VALUES)},
    [MESSAGE_READ_DONE] = {"read_done", F(N_TOKENS)},
    [MESSAGE_READ_FAILED] = {"read_failed", F(CODE) | F(POINTER) | F(TEXT)},
};

void message_record(const struct message *message, int64_t i, double *values, float *tokens)
{
    const size_t of_values = (size_t)message->n_values * sizeof *values,
                 of_tokens = (size_t)message->n_tokens * sizeof *tokens;
    const char *at = (const char *)message->payload + (size_t)i * (of_values + of_tokens);
    if (values)
        memcpy(values, at, of_values);
    if (tokens)
        memcpy(tokens, at + of_values, of_tokens);
}

void message_clear(struct message *message)
{
    for (int field = 0; field < MESSAGE_FIELDS; field++)
        if (message_fields[field].form == FORM_TEXT)
            free(*(char **)((char *)message + message_fields[field].offset));
    free(message->payload);
    memset(message, 0, sizeof *message);
}

/* Bytes per value and per token in a payload; 0: the type has none. `epochs` has both, once
 * per record. */
static const struct {
    int per_value, per_token;
} message_payloads[MESSAGE_TYPES] = {
    [MESSAGE_EPOCHS] = {8, 4},
    [MESSAGE_PROBE] = {0, 4},
    [MESSAGE_PROBED] = {4, 0},
};

/* Payload in bytes that the header's fields imply; -1 with ERR_PROTOCOL if they are impossible
 * or above MESSAGE_PAYLOAD_MAX. Every factor is bounded first, so no product overflows. */
static int64_t message_payload_wanted(const struct message *message, struct err *err)
{
    const int per_value = message_payloads[message->type].per_value;
    const int per_token = message_payloads[message->type].per_token;
    const int epochs = message->type == MESSAGE_EPOCHS;
    if (!per_value && !per_token)
        return 0;
    int possible = message->n_values >= 0 && message->n_values <= MESSAGE_PAYLOAD_MAX &&
                   message->n_tokens >= 0 && message->n_tokens <= MESSAGE_PAYLOAD_MAX &&
                   (!epochs || (message->from >= 0 && message->to >= message->from &&
                                message->to < MESSAGE_PAYLOAD_MAX && message->n > 0 &&
                                message->n <= message->to - message->from + 1));
    int64_t count = possible && epochs ? message->n : 1;
    int64_t bytes = possible ? per_value * message->n_values + per_token * message->n_tokens : 0;
    if (!possible || (bytes > 0 && count > MESSAGE_PAYLOAD_MAX / bytes))
        return err_set(err, ERR_PROTOCOL,
                       "%s %lld to %lld (%lld) with %lld values and %lld tokens are no frame",
                       message_types[message->type].word, (long long)message->from,
                       (long long)message->to, (long long)message->n, (long long)message->n_values,
                       (long long)message->n_tokens);
    return count * bytes;
}

/* --- writing ------------------------------------------------------------------ */

static void message_emit_field(struct emit *json, const struct message *message, int field)
{
    const char *at = (const char *)message + message_fields[field].offset;
    const char *name = message_fields[field].name;
    switch (message_fields[field].form) {
    case FORM_JOB:
        emit_text(json, name, at);
        break;
    case FORM_TEXT:
        emit_text(json, name, *(char *const *)at);
        break;
    default:
        emit_integer(json, name, *(const int64_t *)at);
    }
}

/* The header as one line with its '\n' (malloc). */
static char *message_header(const struct message *message, size_t *n, struct err *err)
{
    struct emit json;
    char *line = NULL;
    if (emit_open_text(&json) == 0) {
        emit_object(&json, NULL);
        emit_text(&json, "type", message_types[message->type].word);
        for (int field = 0; field < MESSAGE_FIELDS; field++)
            if (message_types[message->type].fields & 1u << field)
                message_emit_field(&json, message, field);
        if (message->payload_bytes)
            emit_integer(&json, "payload", (int64_t)message->payload_bytes);
        emit_end(&json);
        putc('\n', json.out);
        line = emit_close_text(&json);
    }
    if (line)
        *n = strlen(line);
    else
        err_set(err, ERR_NO_MEMORY, "no memory for a %s message",
                message_types[message->type].word);
    return line;
}

/* write(2) without SIGPIPE, for a pipe or a file, where MSG_NOSIGNAL does not exist. SIGPIPE is
 * sent to the writing thread: it is blocked there, and one that the write caused is taken
 * back, unless another one was pending before. */
static ssize_t message_write_quietly(int fd, const char *data, size_t n)
{
    sigset_t broken, before, waiting;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&waiting);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    ssize_t written = write(fd, data, n);
    int saved = errno;
    if (written < 0 && saved == EPIPE && !sigismember(&waiting, SIGPIPE))
        sigtimedwait(&broken, NULL, &(struct timespec){0, 0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return written;
}

static int message_write_all(int fd, const char *data, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t written = send(fd, data, n, MSG_NOSIGNAL);
        if (written < 0 && errno == ENOTSOCK)
            written = message_write_quietly(fd, data, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return err_set(err, ERR_TIMEOUT, "the peer does not read: %zu bytes are left", n);
        if (written < 0)
            return err_set_errno(err, ERR_IO, "cannot write a message");
        data += written;
        n -= (size_t)written;
    }
    return 0;
}

/* Refuse before the first byte is sent what the reader would refuse. */
static int message_check(const struct message *message, struct err *err)
{
    const char *word = message_types[message->type].word;
    for (int field = 0; field < MESSAGE_FIELDS; field++)
        if (message_types[message->type].fields & 1u << field &&
            message_fields[field].form == FORM_TEXT &&
            !*(char *const *)((const char *)message + message_fields[field].offset))
            return err_set(err, ERR_PROTOCOL, "a %s message needs %s", word,
                           message_fields[field].name);
    int64_t wanted = message_payload_wanted(message, err);
    if (wanted < 0)
        return -1;
    if ((uint64_t)wanted != message->payload_bytes)
        return err_set(err, ERR_PROTOCOL, "a %s message has %zu bytes of payload, not %lld", word,
                       message->payload_bytes, (long long)wanted);
    return 0;
}

int message_write(int fd, const struct message *message, struct err *err)
{
    size_t n = 0;
    if (message_check(message, err))
        return -1;
    char *header = message_header(message, &n, err);
    if (!header)
        return -1;
    int result;
    if (n > MESSAGE_HEADER_MAX)
        result = err_set(err, ERR_PROTOCOL, "a %s message of %zu bytes is above the limit of %d",
                         message_types[message->type].word, n, MESSAGE_HEADER_MAX);
    else
        result = message_write_all(fd, header, n, err);
    if (result == 0)
        result = message_write_all(fd, message->payload, message->payload_bytes, err);
    free(header);
    return result;
}

/* --- reading ------------------------------------------------------------------ */

struct message_reader {
    int fd;
    char *data; /* received, not yet consumed: [used] of [room] */
    size_t used, room;
    size_t scanned; /* leading bytes of data without a '\n': not searched again */
    int has_header; /* the header of `next` is parsed, its payload is incomplete */
    struct message next;
    size_t payload_have; /* bytes of next.payload that have arrived */
};

struct message_reader *message_reader_new(int fd)
{
    struct message_reader *reader = calloc(1, sizeof *reader);
    if (reader)
        reader->fd = fd;
    return reader;
}

void message_reader_free(struct message_reader *reader)
{
    if (!reader)
        return;
    message_clear(&reader->next);
    free(reader->data);
    free(reader);
}

/* Take one field of the header into *out. */
static int message_take(struct message *out, int field, const json_t *value, struct err *err)
{
    char *at = (char *)out + message_fields[field].offset;
    const char *text = json_string_value(value);
    switch (message_fields[field].form) {
    case FORM_JOB:
        if (!text || strlen(text) >= MESSAGE_ID_MAX)
            break;
        memcpy(at, text, strlen(text) + 1);
        return 0;
    case FORM_TEXT:
        if (!text)
            break;
        *(char **)at = strdup(text);
        return *(char **)at ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for a message");
    case FORM_NUMBER:
        if (!json_is_integer(value))
            break;
        *(int64_t *)at = json_integer_value(value);
        return 0;
    }
    return err_set(err, ERR_PROTOCOL, "a %s message without a proper %s",
                   message_types[out->type].word, message_fields[field].name);
}

static int message_take_type(const json_t *root, struct message *out, struct err *err)
{
    const char *word = json_string_value(json_object_get(root, "type"));
    for (int type = 0; word && type < MESSAGE_TYPES; type++)
        if (strcmp(message_types[type].word, word) == 0) {
            out->type = (enum message_type)type;
            return 0;
        }
    return err_set(err, ERR_PROTOCOL, "a message of unknown type");
}

/* Take the type, its fields and the payload size; anything else in the header is an error. */
static int message_take_all(const json_t *root, struct message *out, struct err *err)
{
    size_t expected = 1;
    if (message_take_type(root, out, err))
        return -1;
    for (int field = 0; field < MESSAGE_FIELDS; field++) {
        if (!(message_types[out->type].fields & 1u << field))
            continue;
        expected++;
        if (message_take(out, field, json_object_get(root, message_fields[field].name), err))
            return -1;
    }
    const json_t *payload = json_object_get(root, "payload");
    expected += payload != NULL;
    int64_t wanted = message_payload_wanted(out, err);
    if (wanted < 0)
        return -1;
    if ((payload && !json_is_integer(payload)) || json_integer_value(payload) != wanted)
        return err_set(err, ERR_PROTOCOL, "a %s message whose payload is not %lld bytes",
                       message_types[out->type].word, (long long)wanted);
    if (json_object_size(root) != expected)
        return err_set(err, ERR_PROTOCOL, "a %s message with a surplus field",
                       message_types[out->type].word);
    out->payload_bytes = (size_t)wanted;
    return 0;
}

/* Parse the first n bytes of data, a header without its '\n', into reader->next. */
static int message_parse(struct message_reader *reader, size_t n, struct err *err)
{
    struct message *next = &reader->next;
    json_error_t error;
    json_t *root = json_loadb(reader->data, n, JSON_REJECT_DUPLICATES, &error);
    if (!root && !error.text[0]) /* jansson sets no text when memory is short */
        return err_set(err, ERR_NO_MEMORY, "no memory for a message of %zu bytes", n);
    if (!root || !json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_PROTOCOL, "a message that is no JSON object");
    }
    int result = message_take_all(root, next, err);
    json_decref(root);
    if (result == 0 && next->payload_bytes) {
        next->payload = malloc(next->payload_bytes);
        if (!next->payload)
            result = err_set(err, ERR_NO_MEMORY, "no memory for a payload of %zu bytes",
                             next->payload_bytes);
    }
    reader->has_header = result == 0;
    reader->payload_have = 0;
    return result;
}

static void message_consume(struct message_reader *reader, size_t n)
{
    reader->used -= n;
    memmove(reader->data, reader->data + n, reader->used);
    reader->scanned = 0;
}

/* Go on with the frame as far as the received bytes reach: 1 complete, 0 incomplete, -1. */
static int message_advance(struct message_reader *reader, struct err *err)
{
    if (!reader->has_header) {
        char *end = reader->used > reader->scanned ? memchr(reader->data + reader->scanned, '\n',
                                                            reader->used - reader->scanned)
                                                   : NULL;
        size_t n = end ? (size_t)(end - reader->data) : reader->used;
        if (n >= MESSAGE_HEADER_MAX)
            return err_set(err, ERR_PROTOCOL, "a message header above the limit of %d bytes",
                           MESSAGE_HEADER_MAX);
        reader->scanned = n;
        if (!end)
            return 0;
        if (message_parse(reader, n, err))
            return -1;
        message_consume(reader, n + 1);
    }
    size_t missing = reader->next.payload_bytes - reader->payload_have;
    size_t n = missing < reader->used ? missing : reader->used;
    if (n > 0) {
        memcpy((char *)reader->next.payload + reader->payload_have, reader->data, n);
        reader->payload_have += n;
        message_consume(reader, n);
    }
    return reader->payload_have == reader->next.payload_bytes;
}

/* One read(2), into the payload if the header is complete, else into the buffer. */
static int message_fill(struct message_reader *reader, struct err *err)
{
    char *to;
    size_t n;
    if (reader->has_header) {
        to = (char *)reader->next.payload + reader->payload_have;
        n = reader->next.payload_bytes - reader->payload_have;
    } else {
        if (reader->room - reader->used < MESSAGE_BLOCK) {
            size_t room = 2 * reader->room + MESSAGE_BLOCK;
            char *data = realloc(reader->data, room);
            if (!data)
                return err_set(err, ERR_NO_MEMORY, "no memory for a message of %zu bytes", room);
            reader->data = data;
            reader->room = room;
        }
        to = reader->data + reader->used;
        n = MESSAGE_BLOCK;
    }
    ssize_t got = read(reader->fd, to, n);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return err_set(err, ERR_IO, "closed by peer%s",
                       reader->has_header || reader->used ? " in the middle of a message" : "");
    if (got < 0)
        return err_set_errno(err, ERR_IO, "cannot read a message");
    *(reader->has_header ? &reader->payload_have : &reader->used) += (size_t)got;
    return 0;
}

/* 1 if fd is readable or at its end, 0 if the deadline has passed (timeout_ms < 0: none). */
static int message_wait(int fd, int timeout_ms, int64_t deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : deadline - clock_monotonic_ms();
        if (timeout_ms >= 0 && left < 0)
            left = 0;
        int ready = poll(&poll_fd, 1, (int)left);
        if (ready >= 0 || errno != EINTR)
            return ready != 0;
    }
}

int message_read(struct message_reader *reader, int timeout_ms, struct message *out,
                 struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        int whole = message_advance(reader, err);
        if (whole < 0) {
            message_clear(&reader->next);
            return -1;
        }
        if (whole)
            break;
        if (!message_wait(reader->fd, timeout_ms, deadline))
            return 0;
        if (message_fill(reader, err))
            return -1;
    }
    message_clear(out);
    *out = reader->next;
    memset(&reader->next, 0, sizeof reader->next);
    reader->has_header = 0;
    return 1;
}
