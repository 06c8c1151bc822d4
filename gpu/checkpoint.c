/* checkpoint: see checkpoint.h. struct checkpoint_file carries both directions: bytes pass through
 * a block of 4 MiB that lies behind the hash of the block before it, so that hashing [previous
 * hash][block] chains the whole file with the one-shot SHA-256. Loading reads a file twice: the
 * first pass only verifies it, so a damaged file never reaches the model. */
#include "gpu/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"

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

struct checkpoint_file {
    int fd;
    const char *path;
    char name[PATH_MAX + 16]; /* "the checkpoint PATH", as errors name it */
    char *memory;             /* [CHAIN + BLOCK] */
    char *block;              /* memory + CHAIN */
    size_t used;              /* writing: bytes in the block; reading: bytes taken from it */
    size_t held;              /* reading: bytes in the block */
    int64_t to_come;          /* reading: bytes of the body that are still in the file */
};

/* A block in front of a descriptor, which is the caller's. */
static int checkpoint_file_start(struct checkpoint_file *file, const char *path, int fd,
                                 struct err *err)
{
    *file = (struct checkpoint_file){.path = path, .fd = fd, .memory = malloc(CHAIN + BLOCK)};
    if (!file->memory)
        return err_set(err, ERR_NO_MEMORY, "no memory for a block of %d bytes", BLOCK);
    snprintf(file->name, sizeof file->name, "the checkpoint %s", path);
    memset(file->memory, '0', CHAIN);
    file->block = file->memory + CHAIN;
    return 0;
}

static int checkpoint_file_open(struct checkpoint_file *file, const char *path, struct err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
    if (checkpoint_file_start(file, path, fd, err) == 0)
        return 0;
    close(fd);
    return -1;
}

static void checkpoint_file_close(struct checkpoint_file *file)
{
    close(file->fd);
    free(file->memory);
}

static void chain_block(struct checkpoint_file *file, size_t n)
{
    char hex[HASH_HEX];
    hash_sha256(file->memory, CHAIN + n, hex);
    memcpy(file->memory, hex, CHAIN);
}

static int checkpoint_file_flush(struct checkpoint_file *file, struct err *err)
{
    if (file->used == 0) /* a reader sees no block behind the last byte */
        return 0;
    if (file_write_whole(file->fd, file->block, file->used, file->name, err) != 0)
        return -1;
    chain_block(file, file->used);
    file->used = 0;
    return 0;
}

static int checkpoint_file_put(struct checkpoint_file *file, const void *data, size_t n,
                               struct err *err)
{
    for (const char *from = data; n > 0;) {
        size_t part = BLOCK - file->used < n ? BLOCK - file->used : n;
        memcpy(file->block + file->used, from, part);
        file->used += part;
        from += part;
        n -= part;
        if (file->used == BLOCK && checkpoint_file_flush(file, err) != 0)
            return -1;
    }
    return 0;
}

/* Read n bytes into data; with data NULL, skip and hash them. */
static int checkpoint_file_take(struct checkpoint_file *file, void *data, int64_t n,
                                struct err *err)
{
    char *to = data;
    while (n > 0) {
        if (file->used == file->held) {
            size_t block = file->to_come < BLOCK ? (size_t)file->to_come : BLOCK;
            if (block == 0)
                return err_set(err, ERR_CORRUPT, "%s is cut short", file->name);
            if (file_read_whole(file->fd, file->block, block, file->name, err) != 0)
                return -1;
            chain_block(file, block);
            file->to_come -= (int64_t)block;
            file->held = block;
            file->used = 0;
        }
        size_t left = file->held - file->used;
        size_t part = (int64_t)left < n ? left : (size_t)n;
        if (to) {
            memcpy(to, file->block + file->used, part);
            to += part;
        }
        file->used += part;
        n -= (int64_t)part;
    }
    return 0;
}

/* Reset the fields that decide no number of a run. */
static void reset_labels(struct spec *spec, const struct spec *defaults)
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
    reset_labels(copy, defaults);
    plain = spec_print(copy);

    /* The spec only names its corpus, so the token stream is hashed too. */
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

static int path_of(char path[PATH_MAX], const char *dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(err, ERR_IO, "the path %.80s... is too long", dir);
    return 0;
}

static int write_body(struct checkpoint_file *file, const struct checkpoint *checkpoint,
                      const struct checkpoint_parts *parts, struct err *err)
{
    if (checkpoint_file_put(file, magic, MAGIC, err) != 0)
        return -1;
    for (int i = 0; i < HEADER_FIELDS; i++)
        if (checkpoint_file_put(file, (const char *)checkpoint + header_fields[i].at,
                                header_fields[i].size, err) != 0)
            return -1;
    for (int part = 0; part < checkpoint->n_parts; part++)
        if (parts->get(parts->self, part, parts->buffer, err) != 0 ||
            checkpoint_file_put(file, parts->buffer,
                                (size_t)checkpoint->n_parameters * sizeof(float), err) != 0)
            return -1;
    return checkpoint_file_put(file, parts->exposures, (size_t)checkpoint->vocab * sizeof(int64_t),
                               err) == 0 &&
                   checkpoint_file_flush(file, err) == 0
               ? file_write_whole(file->fd, file->memory, CHAIN, file->name, err)
               : -1;
}

static int write_file(struct file_atomic *fresh, const struct checkpoint *checkpoint,
                      const struct checkpoint_parts *parts, struct err *err)
{
    struct checkpoint_file file;
    if (checkpoint_file_start(&file, fresh->temporary, fileno(fresh->out), err) != 0)
        return -1;
    const int result = write_body(&file, checkpoint, parts, err);
    free(file.memory);
    return result;
}

/* The body is durable before the newest file gives up its name, and the names are durable on
 * return: at every instant newest or previous is complete. */
int checkpoint_save(const char *dir, const struct checkpoint *checkpoint,
                    const struct checkpoint_parts *parts, struct err *err)
{
    char previous[PATH_MAX];
    struct file_atomic fresh;
    if (path_of(previous, dir, file_names[1], err) != 0 ||
        file_atomic_open(&fresh, dir, file_names[0], 0644, err) != 0)
        return -1;
    int result = write_file(&fresh, checkpoint, parts, err);
    if (result == 0)
        result = file_atomic_sync(&fresh, err);
    if (result == 0 && rename(fresh.path, previous) != 0 && errno != ENOENT)
        result = err_set_errno(err, ERR_IO, "cannot rename %s", fresh.path);
    if (result == 0)
        return file_atomic_commit(&fresh, err);
    file_atomic_abort(&fresh);
    return -1;
}

/* Read magic and fields, and check that the file has the size that they imply. */
static int read_header(struct checkpoint_file *file, struct checkpoint *out, struct err *err)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0)
        return err_set_errno(err, ERR_IO, "cannot examine %s", file->name);
    int64_t body = (int64_t)status.st_size - CHAIN, want = MAGIC;
    file->to_come = body > 0 ? body : 0;
    char mark[MAGIC];
    if (checkpoint_file_take(file, mark, MAGIC, err) != 0)
        return -1;
    if (memcmp(mark, magic, MAGIC) != 0)
        return err_set(err, ERR_CORRUPT, "%s is not a checkpoint of this version", file->path);
    memset(out, 0, sizeof *out);
    for (int i = 0; i < HEADER_FIELDS; i++) {
        if (checkpoint_file_take(file, (char *)out + header_fields[i].at,
                                 (int64_t)header_fields[i].size, err) != 0)
            return -1;
        want += (int64_t)header_fields[i].size;
    }
    /* Bound the factors by the file's size, so that the products cannot overflow. */
    if (out->n_parts >= 0 && out->n_parts <= PARTS_MAX && out->n_parameters >= 0 &&
        out->n_parameters <= body && out->vocab >= 0 && out->vocab <= body)
        want += out->n_parts * out->n_parameters * (int64_t)sizeof(float) +
                out->vocab * (int64_t)sizeof(int64_t);
    else
        want = -1;
    if (want != body)
        return err_set(err, ERR_CORRUPT, "%s has the wrong size", file->name);
    return 0;
}

static int check_file(const char *path, struct checkpoint *out, struct err *err)
{
    struct checkpoint_file file;
    if (checkpoint_file_open(&file, path, err) != 0)
        return -1;
    int result = read_header(&file, out, err);
    if (result == 0)
        result =
            checkpoint_file_take(&file, NULL, (int64_t)(file.held - file.used) + file.to_come, err);
    char checksum[CHAIN];
    if (result == 0)
        result = file_read_whole(file.fd, checksum, CHAIN, file.name, err);
    if (result == 0 && memcmp(checksum, file.memory, CHAIN) != 0)
        result = err_set(err, ERR_CORRUPT, "%s fails its checksum", file.name);
    checkpoint_file_close(&file);
    return result;
}

static int load_parts(const char *path, const struct checkpoint_parts *parts, struct err *err)
{
    struct checkpoint_file file;
    struct checkpoint header;
    if (checkpoint_file_open(&file, path, err) != 0)
        return -1;
    int result = read_header(&file, &header, err);
    for (int part = 0; result == 0 && part < header.n_parts; part++) {
        result = checkpoint_file_take(&file, parts->buffer,
                                      header.n_parameters * (int64_t)sizeof(float), err);
        if (result == 0)
            result = parts->put(parts->self, part, parts->buffer, err);
    }
    if (result == 0)
        result = checkpoint_file_take(&file, parts->exposures,
                                      header.vocab * (int64_t)sizeof(int64_t), err);
    checkpoint_file_close(&file);
    return result;
}

/* A run may continue only from a checkpoint of the same origin. */
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

/* Terminate the strings, whatever the file holds. */
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
        if (path_of(path, dir, file_names[i], err) != 0)
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
        if (path_of(path, dir, names[i], err) != 0)
            return -1;
        if (unlink(path) != 0 && errno != ENOENT)
            return err_set_errno(err, ERR_IO, "cannot remove %s", path);
    }
    return 0;
}
