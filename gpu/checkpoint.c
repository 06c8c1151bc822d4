/* checkpoint: see checkpoint.h. One stream type carries both directions: bytes
 * pass through a block of 4 MiB that stands behind the hash of the block before
 * it, so that hashing [previous hash][block] chains the whole file with the
 * one-shot SHA-256. A file is read twice when it is loaded, first only to check
 * it, so that a damaged one never reaches the model. */
#include "gpu/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory's byte order");

enum { BLOCK = 4 << 20, CHAIN = HASH_HEX - 1, MAGIC = 8, PARTS_MAX = 8 };

static const char magic[MAGIC + 1] = "TFCKPT1\n";
static const char *const file_names[] = {"checkpoint", "checkpoint.previous"};

#define FIELD(name)                                                                                \
    {                                                                                              \
        offsetof(struct checkpoint, name), sizeof((struct checkpoint *)0)->name                    \
    }
static const struct {
    size_t at, size;
} header_fields[] = {
    FIELD(identity), FIELD(device),       FIELD(precision), FIELD(isa),
    FIELD(build),    FIELD(threads),      FIELD(epoch),     FIELD(step),
    FIELD(n_parts),  FIELD(n_parameters), FIELD(vocab),
};
enum { HEADER_FIELDS = sizeof header_fields / sizeof *header_fields };

struct stream {
    int fd;
    const char *path;
    char *memory;    /* [CHAIN + BLOCK] */
    char *block;     /* memory + CHAIN */
    size_t used;     /* writing: bytes in the block; reading: bytes taken from it */
    size_t held;     /* reading: bytes in the block */
    int64_t to_come; /* reading: bytes of the body that are still in the file */
};

static int stream_open(struct stream *stream, const char *path, int flags, struct err *err)
{
    *stream = (struct stream){.path = path, .fd = -1};
    stream->memory = malloc(CHAIN + BLOCK);
    if (!stream->memory)
        return err_set(err, ERR_NO_MEMORY, "no memory for a block of %d bytes", BLOCK);
    memset(stream->memory, '0', CHAIN);
    stream->block = stream->memory + CHAIN;
    stream->fd = open(path, flags | O_CLOEXEC, 0644);
    if (stream->fd < 0) {
        free(stream->memory);
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
    }
    return 0;
}

/* Close without a word about errors: writers have synced by then. */
static void stream_close(struct stream *stream)
{
    close(stream->fd);
    free(stream->memory);
}

static void chain_block(struct stream *stream, size_t n)
{
    char hex[HASH_HEX];
    hash_sha256(stream->memory, CHAIN + n, hex);
    memcpy(stream->memory, hex, CHAIN);
}

static int write_all(const struct stream *stream, const char *bytes, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t done = write(stream->fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return err_set_errno(err, ERR_IO, "cannot write the checkpoint %s", stream->path);
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

static int stream_flush(struct stream *stream, struct err *err)
{
    if (stream->used == 0) /* a reader sees no block behind the last byte */
        return 0;
    if (write_all(stream, stream->block, stream->used, err) != 0)
        return -1;
    chain_block(stream, stream->used);
    stream->used = 0;
    return 0;
}

static int stream_put(struct stream *stream, const void *data, size_t n, struct err *err)
{
    for (const char *from = data; n > 0;) {
        size_t part = BLOCK - stream->used < n ? BLOCK - stream->used : n;
        memcpy(stream->block + stream->used, from, part);
        stream->used += part;
        from += part;
        n -= part;
        if (stream->used == BLOCK && stream_flush(stream, err) != 0)
            return -1;
    }
    return 0;
}

static int read_all(const struct stream *stream, char *bytes, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t done = read(stream->fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set_errno(err, ERR_IO, "cannot read the checkpoint %s", stream->path);
        if (done == 0)
            return err_set(err, ERR_CORRUPT, "the checkpoint %s is cut short", stream->path);
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

/* data NULL: pass over n bytes, hashing them. */
static int stream_take(struct stream *stream, void *data, int64_t n, struct err *err)
{
    char *to = data;
    while (n > 0) {
        if (stream->used == stream->held) {
            size_t block = stream->to_come < BLOCK ? (size_t)stream->to_come : BLOCK;
            if (block == 0)
                return err_set(err, ERR_CORRUPT, "the checkpoint %s is cut short", stream->path);
            if (read_all(stream, stream->block, block, err) != 0)
                return -1;
            chain_block(stream, block);
            stream->to_come -= (int64_t)block;
            stream->held = block;
            stream->used = 0;
        }
        size_t left = stream->held - stream->used;
        size_t part = (int64_t)left < n ? left : (size_t)n;
        if (to) {
            memcpy(to, stream->block + stream->used, part);
            to += part;
        }
        stream->used += part;
        n -= (int64_t)part;
    }
    return 0;
}

static void put_words(struct spec *spec, const struct spec *defaults)
{
    for (int i = 0; i < spec->n_tags; i++)
        free(spec->tags[i]);
    spec->n_tags = 0;
    spec->name[0] = '\0';
    spec->notes[0] = '\0';
    spec->train.n_snapshots = 0;
    spec->resources = defaults->resources;
}

int checkpoint_identity(const struct spec *spec, const struct dataset *dataset, char hex[HASH_HEX],
                        struct err *err)
{
    int result = -1;
    char *printed = spec_print(spec), *plain = NULL, *whole = NULL;
    struct spec *copy = NULL, *defaults = spec_default();
    if (!printed || !defaults) {
        err_set(err, ERR_NO_MEMORY, "no memory to print the experiment");
        goto out;
    }
    if (spec_parse(printed, strlen(printed), &copy, err) != 0)
        goto out;
    put_words(copy, defaults);
    plain = spec_print(copy);

    char counts[HASH_HEX], ids[HASH_HEX];
    const struct frequency *frequency = &dataset->frequency;
    hash_sha256(frequency->counts, (size_t)frequency->vocab * sizeof *frequency->counts, counts);
    hash_sha256(dataset->ids ? (const void *)dataset->ids : "",
                dataset->ids ? dataset->n * sizeof *dataset->ids : 0, ids);
    if (!plain || asprintf(&whole, "%s\n%s\n%s\n", plain, counts, ids) < 0) {
        whole = NULL;
        err_set(err, ERR_NO_MEMORY, "no memory to print the experiment");
        goto out;
    }
    hash_sha256(whole, strlen(whole), hex);
    result = 0;
out:
    free(printed);
    free(plain);
    free(whole);
    spec_free(copy);
    spec_free(defaults);
    return result;
}

static int file_path(char path[PATH_MAX], const char *dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(err, ERR_IO, "the path %.80s... is too long", dir);
    return 0;
}

static int write_body(struct stream *stream, const struct checkpoint *checkpoint,
                      const struct checkpoint_parts *parts, struct err *err)
{
    if (stream_put(stream, magic, MAGIC, err) != 0)
        return -1;
    for (int i = 0; i < HEADER_FIELDS; i++)
        if (stream_put(stream, (const char *)checkpoint + header_fields[i].at,
                       header_fields[i].size, err) != 0)
            return -1;
    for (int part = 0; part < checkpoint->n_parts; part++)
        if (parts->get(parts->self, part, parts->buffer, err) != 0 ||
            stream_put(stream, parts->buffer, (size_t)checkpoint->n_parameters * sizeof(float),
                       err) != 0)
            return -1;
    if (stream_put(stream, parts->exposures, (size_t)checkpoint->vocab * sizeof(int64_t), err) !=
            0 ||
        stream_flush(stream, err) != 0 || write_all(stream, stream->memory, CHAIN, err) != 0)
        return -1;
    if (fsync(stream->fd) != 0)
        return err_set_errno(err, ERR_IO, "cannot sync the checkpoint %s", stream->path);
    return 0;
}

int checkpoint_sync_dir(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot open the folder %s", dir);
    int result = fsync(fd) == 0 ? 0 : err_set_errno(err, ERR_IO, "cannot sync the folder %s", dir);
    close(fd);
    return result;
}

int checkpoint_save(const char *dir, const struct checkpoint *checkpoint,
                    const struct checkpoint_parts *parts, struct err *err)
{
    char fresh[PATH_MAX], newest[PATH_MAX], previous[PATH_MAX];
    if (file_path(fresh, dir, "checkpoint.new", err) != 0 ||
        file_path(newest, dir, file_names[0], err) != 0 ||
        file_path(previous, dir, file_names[1], err) != 0)
        return -1;
    struct stream stream;
    if (stream_open(&stream, fresh, O_WRONLY | O_CREAT | O_TRUNC, err) != 0)
        return -1;
    int result = write_body(&stream, checkpoint, parts, err);
    stream_close(&stream);
    if (result != 0) {
        unlink(fresh);
        return -1;
    }
    if (rename(newest, previous) != 0 && errno != ENOENT)
        return err_set_errno(err, ERR_IO, "cannot rename %s", newest);
    if (rename(fresh, newest) != 0)
        return err_set_errno(err, ERR_IO, "cannot rename %s", fresh);
    return checkpoint_sync_dir(dir, err);
}

/* Magic, fields, and whether the file has the size that they promise. */
static int read_header(struct stream *stream, struct checkpoint *out, struct err *err)
{
    struct stat status;
    if (fstat(stream->fd, &status) != 0)
        return err_set_errno(err, ERR_IO, "cannot examine the checkpoint %s", stream->path);
    int64_t body = (int64_t)status.st_size - CHAIN, want = MAGIC;
    stream->to_come = body > 0 ? body : 0;
    char mark[MAGIC];
    if (stream_take(stream, mark, MAGIC, err) != 0)
        return -1;
    if (memcmp(mark, magic, MAGIC) != 0)
        return err_set(err, ERR_CORRUPT, "%s is not a checkpoint of this version", stream->path);
    memset(out, 0, sizeof *out);
    for (int i = 0; i < HEADER_FIELDS; i++) {
        if (stream_take(stream, (char *)out + header_fields[i].at, (int64_t)header_fields[i].size,
                        err) != 0)
            return -1;
        want += (int64_t)header_fields[i].size;
    }
    /* Bounded by the file's size before they are multiplied. */
    if (out->n_parts >= 0 && out->n_parts <= PARTS_MAX && out->n_parameters >= 0 &&
        out->n_parameters <= body && out->vocab >= 0 && out->vocab <= body)
        want += out->n_parts * out->n_parameters * (int64_t)sizeof(float) +
                out->vocab * (int64_t)sizeof(int64_t);
    else
        want = -1;
    if (want != body)
        return err_set(err, ERR_CORRUPT, "the checkpoint %s has the wrong size", stream->path);
    return 0;
}

static int check_file(const char *path, struct checkpoint *out, struct err *err)
{
    struct stream stream;
    if (stream_open(&stream, path, O_RDONLY, err) != 0)
        return -1;
    int result = read_header(&stream, out, err);
    if (result == 0)
        result =
            stream_take(&stream, NULL, (int64_t)(stream.held - stream.used) + stream.to_come, err);
    char checksum[CHAIN];
    if (result == 0)
        result = read_all(&stream, checksum, CHAIN, err);
    if (result == 0 && memcmp(checksum, stream.memory, CHAIN) != 0)
        result = err_set(err, ERR_CORRUPT, "the checkpoint %s fails its checksum", path);
    stream_close(&stream);
    return result;
}

static int load_parts(const char *path, const struct checkpoint_parts *parts, struct err *err)
{
    struct stream stream;
    struct checkpoint header;
    if (stream_open(&stream, path, O_RDONLY, err) != 0)
        return -1;
    int result = read_header(&stream, &header, err);
    for (int part = 0; result == 0 && part < header.n_parts; part++) {
        result =
            stream_take(&stream, parts->buffer, header.n_parameters * (int64_t)sizeof(float), err);
        if (result == 0)
            result = parts->put(parts->self, part, parts->buffer, err);
    }
    if (result == 0)
        result =
            stream_take(&stream, parts->exposures, header.vocab * (int64_t)sizeof(int64_t), err);
    stream_close(&stream);
    return result;
}

/* A checkpoint continues only what it was made of. */
static int check_origin(const struct checkpoint *is, const struct checkpoint *expect,
                        const char *dir, struct err *err)
{
    const struct {
        const char *what, *was, *now;
    } words[] = {
        {"on device", is->device, expect->device},
        {"with precision", is->precision, expect->precision},
        {"with instruction set", is->isa, expect->isa},
        {"by build", is->build, expect->build},
    };
    if (strcmp(is->identity, expect->identity) != 0)
        return err_set(err, ERR_CONFLICT, "the checkpoint in %s belongs to another experiment",
                       dir);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].was, words[i].now) != 0)
            return err_set(err, ERR_UNAVAILABLE,
                           "the checkpoint in %s was made %s %s; this trainer has %s", dir,
                           words[i].what, words[i].was, words[i].now);
    if (is->threads != expect->threads)
        return err_set(err, ERR_UNAVAILABLE,
                       "the checkpoint in %s was made with %lld threads; this trainer has %lld",
                       dir, (long long)is->threads, (long long)expect->threads);
    if (is->n_parts != expect->n_parts || is->n_parameters != expect->n_parameters ||
        is->vocab != expect->vocab)
        return err_set(err, ERR_CORRUPT, "the checkpoint in %s has another model's size", dir);
    return 0;
}

/* Fields that are texts end within themselves, whatever the file holds. */
static void end_words(struct checkpoint *checkpoint)
{
    checkpoint->identity[HASH_HEX - 1] = '\0';
    checkpoint->device[CHECKPOINT_WORD - 1] = '\0';
    checkpoint->precision[CHECKPOINT_WORD - 1] = '\0';
    checkpoint->isa[CHECKPOINT_WORD - 1] = '\0';
    checkpoint->build[CHECKPOINT_WORD - 1] = '\0';
}

int checkpoint_load(const char *dir, const struct checkpoint *expect, int64_t max_epoch,
                    const struct checkpoint_parts *parts, struct checkpoint *out, int *found,
                    char *note, struct err *err)
{
    struct err damage = ERR_INIT;
    int intact = 0;
    note[0] = '\0';
    for (size_t i = 0; i < sizeof file_names / sizeof *file_names; i++) {
        char path[PATH_MAX];
        struct checkpoint checkpoint;
        struct err fault = ERR_INIT;
        if (file_path(path, dir, file_names[i], err) != 0)
            return -1;
        if (check_file(path, &checkpoint, &fault) != 0) {
            if (fault.code != ERR_NOT_FOUND && fault.code != ERR_CORRUPT)
                return err_set(err, fault.code, "%s", fault.message);
            if (fault.code == ERR_CORRUPT && damage.code == ERR_NONE)
                damage = fault;
            continue;
        }
        intact = 1;
        end_words(&checkpoint);
        if (check_origin(&checkpoint, expect, dir, err) != 0)
            return -1;
        if (checkpoint.epoch > max_epoch)
            continue;
        if (load_parts(path, parts, err) != 0)
            return -1;
        memcpy(note, damage.message, ERR_MESSAGE_MAX);
        *out = checkpoint;
        *found = 1;
        return 0;
    }
    if (damage.code != ERR_NONE && !intact)
        return err_set(err, ERR_CORRUPT, "no intact checkpoint: %s", damage.message);
    *found = 0;
    return 0;
}

int checkpoint_remove(const char *dir, struct err *err)
{
    static const char *const names[] = {"checkpoint", "checkpoint.previous", "checkpoint.new"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_MAX];
        if (file_path(path, dir, names[i], err) != 0)
            return -1;
        if (unlink(path) != 0 && errno != ENOENT)
            return err_set_errno(err, ERR_IO, "cannot remove %s", path);
    }
    return 0;
}
