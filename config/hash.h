/* hash: SHA-256 and secure random bytes (libsodium) as hexadecimal text, for corpus
 * addresses, checkpoint checksums, stored tokens and request ids; FNV-1a for hash tables of
 * texts. Any thread, after hash_init. */
#ifndef TOKENFATE_HASH_H
#define TOKENFATE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "config/err.h"

enum { HASH_BYTES = 32, HASH_HEX = 65 }; /* SHA-256 digest; its hex text with the zero */

/* Once per process, before the others. ERR_INTERNAL if libsodium cannot start. */
int hash_init(struct err *err);

/* Lower-case hex SHA-256 (FIPS 180-4) of n bytes. */
void hash_sha256(const void *data, size_t n, char hex[HASH_HEX]);

/* Lower-case hex HMAC-SHA256 (RFC 2104) of two texts, one behind the other. */
void hash_hmac_sha256(const char *key, const char *first, const char *second, char hex[HASH_HEX]);

/* SHA-256 of a whole file, read in blocks. ERR_IO. */
int hash_sha256_file(const char *path, char hex[HASH_HEX], struct err *err);

/* BLAKE2b-256 (RFC 7693) of bytes that come in parts: for files that this program writes for
 * itself and reads at every start of a job. */
struct hash_stream {
    _Alignas(64) unsigned char state[384]; /* libsodium's */
};
void hash_stream_start(struct hash_stream *stream);
void hash_stream_add(struct hash_stream *stream, const void *data, size_t n);
void hash_stream_end(struct hash_stream *stream, unsigned char digest[HASH_BYTES]);

/* The same of the first n bytes of a file, read in blocks. ERR_NOT_FOUND, ERR_IO; ERR_CORRUPT if
 * it has fewer. */
int hash_file_part(const char *path, size_t n, unsigned char digest[HASH_BYTES], struct err *err);

/* n random bytes from the system's generator, as 2n hex digits and a zero. */
void hash_random_hex(size_t n, char *hex);

/* 1 if both texts are equal. Constant time: it depends on the length alone, so that a
 * comparison with a secret leaks nothing. */
int hash_equal(const char *a, const char *b);

/* FNV-1a, 32 bits (Fowler, Noll & Vo). Needs no hash_init. */
static inline uint32_t hash_fnv1a(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x01000193u;
    return hash;
}

#endif
