/* hash: digests against the published examples, whole files against memory,
 * random text that does not repeat, comparison. */
#include "config/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FIPS 180-4's examples: "", "abc", and the two-block message. */
static void test_published_digests(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char hex[HASH_HEX];
        hash_sha256(cases[i].text, strlen(cases[i].text), hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

static void test_file_equals_memory(void **state)
{
    (void)state;
    enum { N = 200001 }; /* more than three blocks, and not a whole number of them */
    char path[] = "/tmp/config_hash_XXXXXX", of_file[HASH_HEX], of_memory[HASH_HEX];
    struct err err = ERR_INIT;
    char *bytes = malloc(N);
    assert_non_null(bytes);
    for (int i = 0; i < N; i++)
        bytes[i] = (char)(i * 31 + i / 256);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, N), N);
    close(fd);
    assert_int_equal(hash_sha256_file(path, of_file, &err), 0);
    hash_sha256(bytes, N, of_memory);
    assert_string_equal(of_file, of_memory);
    unlink(path);
    free(bytes);
    assert_int_equal(hash_sha256_file(path, of_file, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(hash_sha256_file("/tmp", of_file, &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void test_random_text(void **state)
{
    (void)state;
    char a[65], b[65];
    memset(a, 'x', sizeof a);
    hash_random_hex(32, a);
    hash_random_hex(32, b);
    assert_int_equal(strlen(a), 64);
    assert_int_equal(strspn(a, "0123456789abcdef"), 64);
    assert_string_not_equal(a, b);
    hash_random_hex(0, a);
    assert_string_equal(a, "");
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(hash_equal("", ""));
    assert_true(hash_equal("secret", "secret"));
    assert_false(hash_equal("secret", "secreT"));
    assert_false(hash_equal("secret", "secret1"));
    assert_false(hash_equal("secret", ""));
}

/* RFC 4231, cases 2 and 6 (its key is longer than a block). */
static void test_hmac(void **state)
{
    char hex[HASH_HEX], key[132];
    (void)state;
    hash_hmac_sha256("Jefe", "what do ya want ", "for nothing?", hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key - 1);
    key[sizeof key - 1] = '\0';
    hash_hmac_sha256(key, "", "Test Using Larger Than Block-Size Key - Hash Key First", hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    struct err err = ERR_INIT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_digests),
        cmocka_unit_test(test_file_equals_memory),
        cmocka_unit_test(test_random_text),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_hmac),
    };
    return hash_init(&err) ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
