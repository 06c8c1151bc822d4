/* message: every type arrives as it left, over sockets, pipes and files, whole or
 * byte by byte; a stream of garbage ends in an error and never in a crash. */
#include "config/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct ends {
    int writer, reader;
};

static void open_socket(struct ends *ends)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    *ends = (struct ends){fd[0], fd[1]};
}

static void open_pipe(struct ends *ends)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    *ends = (struct ends){fd[1], fd[0]};
}

/* One of every type, with every field it carries. */
static struct message sample(enum message_type type)
{
    static float payload[] = {1.5f, -2.5f, 3, 4, 5, 6};
    struct message message = {.type = type,
                              .spec = "{\"name\":\"a \\\"b\\\"\"}",
                              .corpus = "/data/corpora/x",
                              .model = "/data/jobs/z/model/epoch-0000500.safetensors",
                              .dir = "/data/jobs/y\n",
                              .code = "diverged",
                              .text = "loss is not finite \xe2\x82\xac",
                              .kind = "cuda",
                              .id = "cuda:0",
                              .name = "NVIDIA H200",
                              .precision = "bf16",
                              .isa = "avx512",
                              .build = "0.1.0+abc",
                              .driver = "580.99.01",
                              .identity = "build 1, GPU-01",
                              .pointer = "/corpus/variant",
                              .version = MESSAGE_VERSION,
                              .resume = 17,
                              .checkpoint_seconds = 30,
                              .epoch = INT64_C(1) << 40,
                              .from = 3,
                              .to = 4,
                              .n = 2,
                              .bytes = INT64_MAX,
                              .free_bytes = 123,
                              .threads = 2,
                              .n_values = 1,
                              .n_tokens = 1,
                              .utilisation = 63,
                              .temperature = 54};
    snprintf(message.job, sizeof message.job, "0123456789abcdef0123456789abcdef0123");
    static const size_t bytes[MESSAGE_TYPES] = {
        [MESSAGE_EPOCHS] = 2 * (8 + 4), [MESSAGE_PROBE] = 4, [MESSAGE_PROBED] = 4};
    message.payload_bytes = bytes[type];
    message.payload = message.payload_bytes ? payload : NULL;
    return message;
}

/* A field that arrived equals what was sent; one that did not travel is empty. */
static void check_text(const char *got, const char *sent, int *carried)
{
    if (got) {
        assert_string_equal(got, sent);
        ++*carried;
    }
}

static void check_number(int64_t got, int64_t sent, int *carried)
{
    if (got) {
        assert_int_equal(got, sent);
        ++*carried;
    }
}

static int check_message(const struct message *got, const struct message *sent)
{
    int carried = 0;
    assert_int_equal(got->type, sent->type);
    if (got->job[0])
        check_text(got->job, sent->job, &carried);
    check_text(got->spec, sent->spec, &carried);
    check_text(got->corpus, sent->corpus, &carried);
    check_text(got->model, sent->model, &carried);
    check_text(got->dir, sent->dir, &carried);
    check_text(got->code, sent->code, &carried);
    check_text(got->text, sent->text, &carried);
    check_text(got->kind, sent->kind, &carried);
    check_text(got->id, sent->id, &carried);
    check_text(got->name, sent->name, &carried);
    check_text(got->precision, sent->precision, &carried);
    check_text(got->isa, sent->isa, &carried);
    check_text(got->build, sent->build, &carried);
    check_text(got->driver, sent->driver, &carried);
    check_text(got->identity, sent->identity, &carried);
    check_text(got->pointer, sent->pointer, &carried);
    check_number(got->version, sent->version, &carried);
    check_number(got->resume, sent->resume, &carried);
    check_number(got->checkpoint_seconds, sent->checkpoint_seconds, &carried);
    check_number(got->epoch, sent->epoch, &carried);
    check_number(got->from, sent->from, &carried);
    check_number(got->to, sent->to, &carried);
    check_number(got->n, sent->n, &carried);
    check_number(got->bytes, sent->bytes, &carried);
    check_number(got->free_bytes, sent->free_bytes, &carried);
    check_number(got->threads, sent->threads, &carried);
    check_number(got->n_values, sent->n_values, &carried);
    check_number(got->n_tokens, sent->n_tokens, &carried);
    check_number(got->utilisation, sent->utilisation, &carried);
    check_number(got->temperature, sent->temperature, &carried);
    assert_int_equal(got->payload_bytes, sent->payload_bytes);
    if (got->payload_bytes)
        assert_memory_equal(got->payload, sent->payload, got->payload_bytes);
    return carried;
}

static const int fields_of[MESSAGE_TYPES] = {
    [MESSAGE_RUN] = 7,         [MESSAGE_CANCEL] = 1,       [MESSAGE_STOP] = 1,
    [MESSAGE_EXIT] = 0,        [MESSAGE_HELLO] = 2,        [MESSAGE_DEVICE] = 11,
    [MESSAGE_READY] = 0,       [MESSAGE_STARTED] = 8,      [MESSAGE_ALIVE] = 2,
    [MESSAGE_EPOCHS] = 6,      [MESSAGE_CHECKPOINTED] = 2, [MESSAGE_DONE] = 2,
    [MESSAGE_STOPPED] = 2,     [MESSAGE_CANCELLED] = 2,    [MESSAGE_FAILED] = 4,
    [MESSAGE_LOG] = 2,         [MESSAGE_NOTICE] = 2,       [MESSAGE_PROBE] = 5,
    [MESSAGE_PROBED] = 2,      [MESSAGE_READ] = 3,         [MESSAGE_READ_DONE] = 1,
    [MESSAGE_READ_FAILED] = 3,
};

static void send_and_check_all(struct ends *ends)
{
    struct err err = ERR_INIT;
    struct message got = {0};
    struct message_reader *reader = message_reader_new(ends->reader);
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        struct message sent = sample((enum message_type)type);
        assert_int_equal(message_write(ends->writer, &sent, &err), 0);
    }
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        struct message sent = sample((enum message_type)type);
        assert_int_equal(message_read(reader, 1000, &got, &err), 1);
        assert_int_equal(check_message(&got, &sent), fields_of[type]);
    }
    assert_int_equal(message_read(reader, 0, &got, &err), 0);
    close(ends->writer);
    assert_int_equal(message_read(reader, -1, &got, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.message, "closed by peer");
    message_clear(&got);
    message_reader_free(reader);
    close(ends->reader);
}

static void test_every_type(void **state)
{
    (void)state;
    struct ends ends;
    open_socket(&ends);
    send_and_check_all(&ends);
    open_pipe(&ends);
    send_and_check_all(&ends);
}

/* Bytes of a frame, as written. */
static size_t frame_of(const struct message *message, char *bytes, size_t room)
{
    struct ends ends;
    struct err err = ERR_INIT;
    open_socket(&ends);
    assert_int_equal(message_write(ends.writer, message, &err), 0);
    ssize_t n = recv(ends.reader, bytes, room, MSG_DONTWAIT);
    assert_true(n > 0);
    close(ends.writer);
    close(ends.reader);
    return (size_t)n;
}

/* What the messages of this version carry. Another set of fields needs another
 * number: without it two builds would take each other for the same. */
static void test_version_stands_for_the_fields(void **state)
{
    (void)state;
    static const char fields[] =
        "run job spec corpus model dir resume checkpoint_seconds\n"
        "cancel job\n"
        "stop job\n"
        "exit\n"
        "probe job spec dir n_values n_tokens payload\n"
        "read spec corpus dir\n"
        "hello text version\n"
        "device code text kind id name driver identity bytes free utilisation temperature\n"
        "ready\n"
        "started job name precision isa build epoch bytes threads\n"
        "alive job epoch\n"
        "epochs job from to n n_values n_tokens payload\n"
        "checkpointed job epoch\n"
        "done job epoch\n"
        "stopped job epoch\n"
        "cancelled job epoch\n"
        "failed job code text epoch\n"
        "log job text\n"
        "notice job text\n"
        "probed job n_values payload\n"
        "read_done n_tokens\n"
        "read_failed code text pointer\n";
    char bytes[4096], got[sizeof fields + 1024] = "";
    for (int type = 0; type < MESSAGE_TYPES; type++) {
        const struct message message = sample((enum message_type)type);
        const size_t n = frame_of(&message, bytes, sizeof bytes);
        json_t *root = json_loadb(bytes, n, JSON_DISABLE_EOF_CHECK, NULL), *value;
        const char *key;
        assert_non_null(root);
        json_object_foreach(root, key, value)
        {
            strcat(got, strcmp(key, "type") ? " " : "");
            strcat(got, strcmp(key, "type") ? key : json_string_value(value));
        }
        strcat(got, "\n");
        json_decref(root);
    }
    assert_string_equal(got, fields);
    assert_int_equal(MESSAGE_VERSION, 7);
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/config_message_XXXXXX";
    struct err err = ERR_INIT;
    struct message sent = sample(MESSAGE_EPOCHS), got = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(message_write(fd, &sent, &err), 0);
    lseek(fd, 0, SEEK_SET);
    struct message_reader *reader = message_reader_new(fd);
    assert_int_equal(message_read(reader, 0, &got, &err), 1);
    check_message(&got, &sent);
    message_clear(&got);
    message_reader_free(reader);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    char bytes[4096];
    struct err err = ERR_INIT;
    struct ends ends;
    struct message sent = sample(MESSAGE_EPOCHS), got = {0};
    size_t n = frame_of(&sent, bytes, sizeof bytes);
    open_socket(&ends);
    struct message_reader *reader = message_reader_new(ends.reader);
    for (int repeat = 0; repeat < 2; repeat++)
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(write(ends.writer, bytes + i, 1), 1);
            assert_int_equal(message_read(reader, 0, &got, &err), i + 1 == n);
        }
    check_message(&got, &sent);
    message_clear(&got);
    message_reader_free(reader);
    close(ends.writer);
    close(ends.reader);
}

static void test_end_inside_a_frame(void **state)
{
    (void)state;
    char bytes[4096];
    struct message sent = sample(MESSAGE_EPOCHS), got = {0};
    size_t n = frame_of(&sent, bytes, sizeof bytes);
    for (size_t i = 1; i < n; i++) {
        struct err err = ERR_INIT;
        struct ends ends;
        open_socket(&ends);
        struct message_reader *reader = message_reader_new(ends.reader);
        assert_int_equal(write(ends.writer, bytes, i), (ssize_t)i);
        close(ends.writer);
        assert_int_equal(message_read(reader, -1, &got, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        assert_non_null(strstr(err.message, "in the middle"));
        message_reader_free(reader);
        close(ends.reader);
    }
    message_clear(&got);
}

static void test_timeout(void **state)
{
    (void)state;
    struct ends ends;
    struct err err = ERR_INIT;
    struct timespec before, after;
    struct message got = {0};
    open_socket(&ends);
    struct message_reader *reader = message_reader_new(ends.reader);
    assert_int_equal(write(ends.writer, "{\"type\":", 8), 8);
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(message_read(reader, 50, &got, &err), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 +
                (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    assert_true(ms > 45 && ms < 2000);
    assert_int_equal(write(ends.writer, "\"ready\"}\n", 9), 9);
    assert_int_equal(message_read(reader, 0, &got, &err), 1);
    assert_int_equal(got.type, MESSAGE_READY);
    message_reader_free(reader);
    close(ends.writer);
    close(ends.reader);
}

/* What a reader says about these bytes, then that it stays broken. */
static void check_refused(const char *bytes, size_t n)
{
    struct ends ends;
    struct err err = ERR_INIT;
    struct message got = {0};
    open_socket(&ends);
    struct message_reader *reader = message_reader_new(ends.reader);
    assert_int_equal(write(ends.writer, bytes, n), (ssize_t)n);
    int result = message_read(reader, 0, &got, &err);
    if (result != -1 || err.code != ERR_PROTOCOL)
        fail_msg("%.*s: %d %s", (int)n, bytes, result, err_name(err.code));
    assert_int_equal(message_read(reader, 0, &got, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    message_reader_free(reader);
    close(ends.writer);
    close(ends.reader);
}

static void test_bad_frames(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\n",
        "hello\n",
        "[]\n",
        "{}\n",
        "3\n",
        "{\"type\":7}\n",
        "{\"type\":\"dance\"}\n",
        "{\"type\":\"ready\",\"type\":\"ready\"}\n",
        "{\"type\":\"ready\"} {\"type\":\"ready\"}\n",
        "{\"type\":\"ready\",\"extra\":1}\n",
        "{\"type\":\"ready\",\"payload\":8}\n",
        "{\"type\":\"ready\",\"payload\":-1}\n",
        "{\"type\":\"ready\",\"payload\":\"0\"}\n",
        "{\"type\":\"alive\",\"job\":\"j\"}\n",
        "{\"type\":\"alive\",\"job\":1,\"epoch\":1}\n",
        "{\"type\":\"alive\",\"job\":\"j\",\"epoch\":\"1\"}\n",
        "{\"type\":\"alive\",\"job\":\"j\",\"epoch\":1.5}\n",
        "{\"type\":\"alive\",\"job\":\"j\",\"epoch\":99999999999999999999}\n",
        "{\"type\":\"alive\",\"job\":\"0123456789012345678901234567890123456\",\"epoch\":1}\n",
        "{\"type\":\"log\",\"job\":\"j\",\"text\":null}\n",
        "{\"type\":\"log\",\"job\":\"j\",\"text\":\"\xff\"}\n",
        "{\"type\":\"log\",\"job\":\"j\",\"text\":\"a\\u0000b\"}\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_refused(bad[i], strlen(bad[i]));
    check_refused("{\"type\":\"ready\"}\0\n", 18);
}

static void test_bad_epochs(void **state)
{
    (void)state;
    static const struct {
        long long from, to, n, n_values, n_tokens, payload;
    } bad[] = {
        {-1, 0, 2, 1, 1, 24},
        {5, 4, 1, 1, 1, 12},
        {5, 4, 0, 1, 1, 0},
        {0, 0, 1, -1, 1, 12},
        {0, 0, 1, 1, -2, 0},
        {0, 0, 1, 1, 1, 11},
        {0, 0, 1, 1, 1, -12},
        {0, 0, 1, 0, 0, 1},
        {0, 1000000, 1000001, 100, 0, 800000800},
        {0, 0, 1, INT64_MAX, 1, 12},
        {0, INT64_MAX, 1, 1, 1, 12},
        {0, 0, 1, 9000000, 0, 72000000},
        {0, 0, 1, 1LL << 61, 0, 0},
        {0, 5, 0, 1, 1, 0},
        {0, 5, -1, 1, 1, -12},
        {0, 5, 7, 1, 1, 84},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[256];
        snprintf(line, sizeof line,
                 "{\"type\":\"epochs\",\"job\":\"j\",\"from\":%lld,\"to\":%lld,\"n\":%lld,\"n_"
                 "values\":%lld,"
                 "\"n_tokens\":%lld,\"payload\":%lld}\n",
                 bad[i].from, bad[i].to, bad[i].n, bad[i].n_values, bad[i].n_tokens,
                 bad[i].payload);
        check_refused(line, strlen(line));
    }
}

static void test_endless_header(void **state)
{
    (void)state;
    char path[] = "/tmp/config_message_XXXXXX", block[4096];
    struct err err = ERR_INIT;
    struct message got = {0};
    int fd = mkstemp(path);
    unlink(path);
    memset(block, ' ', sizeof block);
    for (size_t n = 0; n < MESSAGE_HEADER_MAX + 2 * sizeof block; n += sizeof block)
        assert_int_equal(write(fd, block, sizeof block), sizeof block);
    lseek(fd, 0, SEEK_SET);
    struct message_reader *reader = message_reader_new(fd);
    assert_int_equal(message_read(reader, -1, &got, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    message_reader_free(reader);
    close(fd);
}

/* Xorshift: the same garbage in every run. */
static unsigned next_random(unsigned *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void test_garbage(void **state)
{
    (void)state;
    unsigned seed = 2463534242u;
    int frames = 0, errors = 0;
    for (int round = 0; round < 3000; round++) {
        char bytes[4096];
        struct err err = ERR_INIT;
        struct ends ends;
        struct message sent = sample((enum message_type)(next_random(&seed) % MESSAGE_TYPES));
        struct message got = {0};
        size_t n = frame_of(&sent, bytes, sizeof bytes / 2);
        n += frame_of(&sent, bytes + n, sizeof bytes / 2);
        for (unsigned k = next_random(&seed) % 4; k > 0; k--)
            bytes[next_random(&seed) % n] = (char)next_random(&seed);
        if (next_random(&seed) % 4 == 0)
            n = next_random(&seed) % n + 1;
        open_socket(&ends);
        struct message_reader *reader = message_reader_new(ends.reader);
        assert_int_equal(write(ends.writer, bytes, n), (ssize_t)n);
        close(ends.writer);
        int result;
        while ((result = message_read(reader, 0, &got, &err)) == 1)
            frames++;
        assert_int_equal(result, -1);
        assert_true(err.code == ERR_PROTOCOL || err.code == ERR_IO);
        errors += err.code == ERR_PROTOCOL;
        message_clear(&got);
        message_reader_free(reader);
        close(ends.reader);
    }
    assert_true(frames > 1000 && errors > 500);
}

static void test_large_payload(void **state)
{
    (void)state;
    enum { EPOCHS = 700, TOKENS = 300, VALUES = 88 };
    size_t n = (size_t)EPOCHS * (8 * VALUES + 4 * TOKENS);
    char path[] = "/tmp/config_message_XXXXXX";
    struct err err = ERR_INIT;
    struct message sent = sample(MESSAGE_EPOCHS), got = {0};
    unsigned char *payload = malloc(n);
    assert_non_null(payload);
    for (size_t i = 0; i < n; i++)
        payload[i] = (unsigned char)(i * 131 + (i >> 8));
    sent.from = 100;
    sent.to = 100 + 3 * EPOCHS;
    sent.n = EPOCHS;
    sent.n_values = VALUES;
    sent.n_tokens = TOKENS;
    sent.payload = payload;
    sent.payload_bytes = n;
    int fd = mkstemp(path);
    unlink(path);
    for (int repeat = 0; repeat < 2; repeat++)
        assert_int_equal(message_write(fd, &sent, &err), 0);
    lseek(fd, 0, SEEK_SET);
    struct message_reader *reader = message_reader_new(fd);
    for (int repeat = 0; repeat < 2; repeat++) {
        assert_int_equal(message_read(reader, 0, &got, &err), 1);
        check_message(&got, &sent);
    }
    message_clear(&got);
    message_reader_free(reader);
    close(fd);
    free(payload);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct message message = sample(MESSAGE_RUN);
    message.corpus = NULL;
    assert_int_equal(message_write(-1, &message, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "corpus"));
    message = sample(MESSAGE_EPOCHS);
    message.payload_bytes--;
    assert_int_equal(message_write(-1, &message, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    message = sample(MESSAGE_LOG);
    message.text = malloc(MESSAGE_HEADER_MAX + 1);
    assert_non_null(message.text);
    memset(message.text, 'x', MESSAGE_HEADER_MAX);
    message.text[MESSAGE_HEADER_MAX] = '\0';
    assert_int_equal(message_write(-1, &message, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    free(message.text);
}

/* A driver's message may hold anything: it must not end the conversation. */
static void test_text_that_is_not_utf8(void **state)
{
    (void)state;
    char bytes[256];
    struct ends ends;
    struct err err = ERR_INIT;
    struct message sent = sample(MESSAGE_LOG), got = {0};
    sent.text = "bad \xff byte";
    size_t n = frame_of(&sent, bytes, sizeof bytes);
    open_socket(&ends);
    struct message_reader *reader = message_reader_new(ends.reader);
    assert_int_equal(write(ends.writer, bytes, n), (ssize_t)n);
    assert_int_equal(message_read(reader, 0, &got, &err), 1);
    assert_string_equal(got.text, "bad \xEF\xBF\xBD byte");
    message_clear(&got);
    message_reader_free(reader);
    close(ends.writer);
    close(ends.reader);
}

static void test_peer_is_gone(void **state)
{
    (void)state;
    sigset_t pending;
    for (int kind = 0; kind < 2; kind++) {
        struct ends ends;
        struct err err = ERR_INIT;
        struct message message = sample(MESSAGE_ALIVE);
        if (kind)
            open_pipe(&ends);
        else
            open_socket(&ends);
        close(ends.reader);
        assert_int_equal(message_write(ends.writer, &message, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        close(ends.writer);
        sigpending(&pending);
        assert_false(sigismember(&pending, SIGPIPE));
    }
}

static void test_peer_that_does_not_read(void **state)
{
    (void)state;
    struct ends ends;
    struct err err = ERR_INIT;
    struct message message = sample(MESSAGE_LOG);
    char text[100000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    message.text = text;
    open_socket(&ends);
    struct timeval timeout = {.tv_usec = 50000};
    assert_int_equal(setsockopt(ends.writer, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    int result = 0;
    for (int i = 0; i < 100 && result == 0; i++)
        result = message_write(ends.writer, &message, &err);
    assert_int_equal(result, -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    close(ends.writer);
    close(ends.reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_version_stands_for_the_fields),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_end_inside_a_frame),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_bad_epochs),
        cmocka_unit_test(test_endless_header),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_large_payload),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_text_that_is_not_utf8),
        cmocka_unit_test(test_peer_is_gone),
        cmocka_unit_test(test_peer_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
