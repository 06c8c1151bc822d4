/* hash: see hash.h. The only file that includes libsodium. Every result is lower-case
 * hexadecimal text. */
#include "config/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "config/file.h"

_Static_assert(sizeof(struct hash_stream) >= sizeof(crypto_generichash_blake2b_state) &&
                   _Alignof(struct hash_stream) >= _Alignof(crypto_generichash_blake2b_state),
               "libsodium's state fits");

enum { HASH_BLOCK = 1 << 16 }; /* bytes read at a time from a file */

int hash_init(struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium %s cannot start", sodium_version_string());
    return 0;
}

void hash_sha256(const void *data, size_t n, char hex[HASH_HEX])
{
    unsigned char digest[HASH_BYTES];
    crypto_hash_sha256(digest, data, n);
    sodium_bin2hex(hex, HASH_HEX, digest, sizeof digest);
}

void hash_hmac_sha256(const char *key, const char *first, const char *second, char hex[HASH_HEX])
{
    unsigned char digest[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key, strlen(key));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)first, strlen(first));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)second, strlen(second));
    crypto_auth_hmacsha256_final(&state, digest);
    sodium_bin2hex(hex, HASH_HEX, digest, sizeof digest);
}

/* Hash the rest of fd into *state. */
static int hash_update_file(crypto_hash_sha256_state *state, int fd, const char *path,
                            struct err *err)
{
    unsigned char block[HASH_BLOCK];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, ERR_IO, "cannot read %s", path);
        if (n == 0)
            return 0;
        crypto_hash_sha256_update(state, block, (size_t)n);
    }
}

int hash_sha256_file(const char *path, char hex[HASH_HEX], struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot open %s", path);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    int result = hash_update_file(&state, fd, path, err);
    if (result == 0) {
        unsigned char digest[HASH_BYTES];
        crypto_hash_sha256_final(&state, digest);
        sodium_bin2hex(hex, HASH_HEX, digest, sizeof digest);
    }
    close(fd);
    return result;
}

static crypto_generichash_blake2b_state *hash_state(struct hash_stream *stream)
{
    return (crypto_generichash_blake2b_state *)(void *)stream->state;
}

void hash_stream_start(struct hash_stream *stream)
{
    crypto_generichash_blake2b_init(hash_state(stream), NULL, 0, HASH_BYTES);
}

void hash_stream_add(struct hash_stream *stream, const void *data, size_t n)
{
    crypto_generichash_blake2b_update(hash_state(stream), data, n);
}

void hash_stream_end(struct hash_stream *stream, unsigned char digest[HASH_BYTES])
{
    crypto_generichash_blake2b_final(hash_state(stream), digest, HASH_BYTES);
}

int hash_file_part(const char *path, size_t n, unsigned char digest[HASH_BYTES], struct err *err)
{
    unsigned char block[HASH_BLOCK];
    struct hash_stream stream;
    int result = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
    hash_stream_start(&stream);
    for (size_t left = n, part; left > 0 && !result; left -= part) {
        part = left < sizeof block ? left : sizeof block;
        result = file_read_whole(fd, block, part, path, err);
        hash_stream_add(&stream, block, part);
    }
    close(fd);
    if (!result)
        hash_stream_end(&stream, digest);
    return result;
}

void hash_random_hex(size_t n, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        unsigned char byte;
        randombytes_buf(&byte, 1);
        hex[2 * i] = digits[byte >> 4];
        hex[2 * i + 1] = digits[byte & 15];
    }
    hex[2 * n] = '\0';
}

int hash_equal(const char *a, const char *b)
{
    size_t n = strlen(a);
    return n == strlen(b) && sodium_memcmp(a, b, n) == 0;
}
