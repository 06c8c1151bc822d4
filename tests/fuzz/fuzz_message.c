/* Fuzzes the reader of the protocol between server and trainer: any stream of
 * bytes gives whole messages and then the end or one refusal, and each message
 * that was read is written and read again to the same value. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/message.h"
#include "tests/fuzz/seed.h"

static int stream, echo; /* files in memory */

/* Appended to only: the spelled seeds below count on the order. */
/* clang-format off */
static const char *const words[] = {
    "{\"type\":\"epochs\",\"job\":\"j\"", ",\"from\":", ",\"to\":", ",\"n_values\":",
    ",\"n_tokens\":", ",\"payload\":", "}\n", "0", "1", "-1", "24", "9223372036854775807",
    "-9223372036854775808", "67108864", "....", "{\"type\":\"run\",\"job\":\"j\"", ",\"spec\":",
    ",\"corpus\":", ",\"dir\":", ",\"resume\":", ",\"checkpoint_seconds\":", "\"text\"",
    "\"\\u00e9\\n\"", "null", "[]", "{\"type\":\"alive\",\"job\":\"j\"", ",\"epoch\":",
    "{\"type\":\"exit\"", "1.5", "\"\"",
    "{\"type\":\"failed\",\"job\":\"0123456789012345678901234567890123456\"", ",\"code\":",
    ",\"text\":", "18446744073709551616", ",\"n\":", "2",
};
/* clang-format on */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char epochs[] =
        "{\"type\":\"epochs\",\"job\":\"j\",\"from\":3,\"to\":4,\"n\":2,\"n_values\":1,"
        "\"n_tokens\":1,\"payload\":24}\n"
        "valuetokevaluetoke......{\"type\":\"ready\"}\n";
    static const char *const seeds[] = {
        "{\"type\":\"exit\"}\n{\"type\":\"ready\"}\n",
        "{\"type\":\"run\",\"job\":\"j\",\"spec\":\"{}\",\"corpus\":\"/"
        "c\",\"model\":\"\",\"dir\":\"/d\","
        "\"resume\":0,\"checkpoint_seconds\":30}\n",
        "{\"type\":\"hello\",\"version\":1,\"text\":\"0.1\"}\n",
        "{\"type\":\"device\",\"name\":\"CPU\",\"kind\":\"cpu\",\"id\":\"cpu\",\"bytes\":1,"
        "\"free\":1,\"code\":\"\",\"text\":\"\"}\n",
        "{\"type\":\"started\",\"job\":\"j\",\"epoch\":0,\"bytes\":1,\"precision\":\"fp32\","
        "\"isa\":\"avx2\",\"threads\":2,\"name\":\"CPU\",\"build\":\"0.1\"}\n",
        "{\"type\":\"failed\",\"job\":\"j\",\"epoch\":7,\"code\":\"diverged\",\"text\":\"x\\n\"}\n",
        "{\"type\":\"stop\",\"job\":\"j\"}\n{\"type\":\"stopped\",\"job\":\"j\",\"epoch\":2}\n",
        "{\"type\":\"log\",\"job\":\"j\",\"text\":\"\\u00e9\"}\n",
        "wABHCIcdDIEIFKGOOOOOO", /* epochs */
        "wPQVRVSVTHUHG",         /* run */
        "wZ[HG\\G"};
    int n = (int)(sizeof seeds / sizeof *seeds);
    for (int i = 0; i < n; i++)
        seed_write(*argc, *argv, i, seeds[i], strlen(seeds[i]));
    seed_write(*argc, *argv, n, epochs, sizeof epochs - 1);
    stream = memfd_create("stream", MFD_CLOEXEC);
    echo = memfd_create("echo", MFD_CLOEXEC);
    FUZZ_REQUIRE(stream >= 0 && echo >= 0);
    return 0;
}

static int same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same(const struct message *a, const struct message *b)
{
    return a->type == b->type && strcmp(a->job, b->job) == 0 && same_text(a->spec, b->spec) &&
           same_text(a->corpus, b->corpus) && same_text(a->model, b->model) &&
           same_text(a->dir, b->dir) && same_text(a->code, b->code) &&
           same_text(a->text, b->text) && same_text(a->kind, b->kind) && same_text(a->id, b->id) &&
           same_text(a->name, b->name) && same_text(a->precision, b->precision) &&
           same_text(a->isa, b->isa) && same_text(a->build, b->build) && a->version == b->version &&
           a->resume == b->resume && a->checkpoint_seconds == b->checkpoint_seconds &&
           a->epoch == b->epoch && a->from == b->from && a->to == b->to && a->n == b->n &&
           a->bytes == b->bytes && a->free_bytes == b->free_bytes && a->threads == b->threads &&
           a->n_values == b->n_values && a->n_tokens == b->n_tokens &&
           a->payload_bytes == b->payload_bytes &&
           (a->payload_bytes == 0 || memcmp(a->payload, b->payload, a->payload_bytes) == 0);
}

/* Empty the file, then start over. */
static void rewind_empty(int fd)
{
    FUZZ_REQUIRE(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
}

static void check_round_trip(const struct message *message)
{
    struct err err = ERR_INIT;
    struct message again = {0};
    rewind_empty(echo);
    FUZZ_REQUIRE(message_write(echo, message, &err) == 0);
    FUZZ_REQUIRE(lseek(echo, 0, SEEK_SET) == 0);
    struct message_reader *reader = message_reader_new(echo);
    FUZZ_REQUIRE(reader != NULL);
    FUZZ_REQUIRE(message_read(reader, -1, &again, &err) == 1);
    FUZZ_REQUIRE(same(message, &again));
    FUZZ_REQUIRE(message_read(reader, -1, &again, &err) == -1 && err.code == ERR_IO);
    message_clear(&again);
    message_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = ERR_INIT;
    struct message message = {0};
    static char spelled[1 << 16];
    const void *bytes = data;
    if (n > 0 && data[0] == SEED_WORDS) {
        n = seed_spell(words, sizeof words / sizeof *words, data + 1, n - 1, spelled,
                       sizeof spelled);
        bytes = spelled;
    }
    rewind_empty(stream);
    FUZZ_REQUIRE(write(stream, bytes, n) == (ssize_t)n && lseek(stream, 0, SEEK_SET) == 0);
    struct message_reader *reader = message_reader_new(stream);
    FUZZ_REQUIRE(reader != NULL);
    int got;
    while ((got = message_read(reader, -1, &message, &err)) == 1)
        check_round_trip(&message);
    FUZZ_REQUIRE(got == -1 &&
                 (err.code == ERR_IO || err.code == ERR_PROTOCOL || err.code == ERR_NO_MEMORY));
    message_clear(&message);
    message_reader_free(reader);
    return 0;
}
