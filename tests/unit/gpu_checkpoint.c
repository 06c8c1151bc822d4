/* gpu_checkpoint: what is loaded is what was saved; damage anywhere in the
 * newest file falls back to the previous one; a full disk costs nothing that was
 * there; a checkpoint continues only the run it was made of. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu/checkpoint.h"

/* Two parts of 4.4 MB: blocks of the file end inside parts. */
enum { PARTS = 2, PARAMETERS = 1100003, VOCAB = 1001 };

struct run {
    float *part[PARTS];
    float *buffer;
    int64_t exposures[VOCAB];
    int fail_at; /* part whose get fails, -1 none */
};

static char dir[64];
static struct run run;
static const struct checkpoint origin = {.identity = "0123456789abcdef0123456789abcdef"
                                                     "0123456789abcdef0123456789abcdef",
                                         .device = "cpu",
                                         .precision = "fp32",
                                         .isa = "avx512",
                                         .build = "v1",
                                         .threads = 2,
                                         .n_parts = PARTS,
                                         .n_parameters = PARAMETERS,
                                         .vocab = VOCAB};

static int get(void *self, int part, float *host, struct err *err)
{
    struct run *from = self;
    if (part == from->fail_at)
        return err_set(err, ERR_DEVICE, "part %d is gone", part);
    memcpy(host, from->part[part], PARAMETERS * sizeof(float));
    return 0;
}

static int put(void *self, int part, const float *host, struct err *err)
{
    (void)err;
    struct run *to = self;
    memcpy(to->part[part], host, PARAMETERS * sizeof(float));
    return 0;
}

static struct checkpoint_parts parts(void)
{
    return (struct checkpoint_parts){&run, get, put, run.buffer, run.exposures};
}

/* Numbers that tell where they belong and which epoch they are of. */
static void fill(int64_t epoch)
{
    for (int p = 0; p < PARTS; p++)
        for (int i = 0; i < PARAMETERS; i++)
            run.part[p][i] = (float)(epoch * 1000 + p) + (float)(i % 977) / 1024;
    for (int i = 0; i < VOCAB; i++)
        run.exposures[i] = epoch * VOCAB + i;
}

static void wipe(void)
{
    for (int p = 0; p < PARTS; p++)
        memset(run.part[p], 0xff, PARAMETERS * sizeof(float));
    memset(run.exposures, 0xff, sizeof run.exposures);
}

static void assert_filled(int64_t epoch)
{
    for (int p = 0; p < PARTS; p++)
        for (int i = 0; i < PARAMETERS; i++)
            if (run.part[p][i] != (float)(epoch * 1000 + p) + (float)(i % 977) / 1024)
                fail_msg("part %d, number %d is %g", p, i, (double)run.part[p][i]);
    for (int i = 0; i < VOCAB; i++)
        assert_int_equal(run.exposures[i], epoch * VOCAB + i);
}

static int save(int64_t epoch, struct err *err)
{
    struct checkpoint checkpoint = origin;
    checkpoint.epoch = epoch;
    checkpoint.step = epoch * 3;
    struct checkpoint_parts from = parts();
    return checkpoint_save(dir, &checkpoint, &from, err);
}

/* Loads and returns the epoch found, -1 for none, -2 - code for an error. */
static int64_t load(int64_t max_epoch, const struct checkpoint *expect, char *note)
{
    struct err err = ERR_INIT;
    struct checkpoint found_one;
    struct checkpoint_parts to = parts();
    int found = 0;
    if (checkpoint_load(dir, expect, max_epoch, &to, &found_one, &found, note, &err) != 0) {
        assert_true(err.message[0] != '\0');
        return -2 - (int64_t)err.code;
    }
    if (!found)
        return -1;
    assert_int_equal(found_one.step, found_one.epoch * 3);
    return found_one.epoch;
}

static void path_of(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", dir, name);
}

static int exists(const char *name)
{
    char path[128];
    path_of(path, name);
    return access(path, F_OK) == 0;
}

static long size_of(const char *name)
{
    char path[128];
    struct stat status;
    path_of(path, name);
    assert_int_equal(stat(path, &status), 0);
    return (long)status.st_size;
}

static void flip(const char *name, long at)
{
    char path[128];
    path_of(path, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    strcpy(dir, "/tmp/gpu_checkpoint.XXXXXX");
    run.fail_at = -1;
    for (int p = 0; p < PARTS; p++)
        run.part[p] = malloc(PARAMETERS * sizeof(float));
    run.buffer = malloc(PARAMETERS * sizeof(float));
    return hash_init(&err) == 0 && mkdtemp(dir) && run.part[0] && run.part[1] && run.buffer ? 0
                                                                                            : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    checkpoint_remove(dir, &err);
    rmdir(dir);
    for (int p = 0; p < PARTS; p++)
        free(run.part[p]);
    free(run.buffer);
    return 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX];
    assert_int_equal(load(INT64_MAX, &origin, note), -1);
    for (int epoch = 7; epoch < 10; epoch++) {
        fill(epoch);
        assert_int_equal(save(epoch, &err), 0);
    }
    assert_false(exists("checkpoint.new"));
    wipe();
    assert_int_equal(load(INT64_MAX, &origin, note), 9);
    assert_string_equal(note, "");
    assert_filled(9);
}

static void test_not_beyond_what_was_stored(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX];
    fill(20);
    assert_int_equal(save(20, &err), 0);
    fill(30);
    assert_int_equal(save(30, &err), 0);
    wipe();
    assert_int_equal(load(29, &origin, note), 20);
    assert_filled(20);
    assert_string_equal(note, "");
    wipe();
    assert_int_equal(load(19, &origin, note), -1);
    assert_int_equal(run.exposures[0], -1);
    assert_int_equal(load(30, &origin, note), 30);
    assert_filled(30);
}

static void test_damage_falls_back(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX];
    fill(1);
    assert_int_equal(save(1, &err), 0);
    fill(2);
    assert_int_equal(save(2, &err), 0);
    long size = size_of("checkpoint");
    const long places[] = {0,         9,        100,         340,       370,
                           (4 << 20), size / 2, size - 5000, size - 65, size - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        flip("checkpoint", places[i]);
        wipe();
        assert_int_equal(load(INT64_MAX, &origin, note), 1);
        assert_non_null(strstr(note, "checkpoint"));
        assert_filled(1);
        flip("checkpoint", places[i]);
    }
    wipe();
    assert_int_equal(load(INT64_MAX, &origin, note), 2);
    assert_filled(2);
}

static void test_cut_files(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX], path[128];
    fill(1);
    assert_int_equal(save(1, &err), 0);
    fill(2);
    assert_int_equal(save(2, &err), 0);
    path_of(path, "checkpoint");
    const long sizes[] = {size_of("checkpoint") - 1, 4 << 20, 100, 64, 3, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        wipe();
        assert_int_equal(load(INT64_MAX, &origin, note), 1);
        assert_filled(1);
    }
    path_of(path, "checkpoint.previous");
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(load(INT64_MAX, &origin, note), -2 - (int)ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load(INT64_MAX, &origin, note), -2 - (int)ERR_CORRUPT);
}

static void test_disk_full(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX];
    fill(1);
    assert_int_equal(save(1, &err), 0);
    struct rlimit old, small = {6 << 20, 6 << 20};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fill(2);
    int result = save(2, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, "cannot write the checkpoint"));
    assert_non_null(strstr(err.message, dir));
    assert_false(exists("checkpoint.new"));

    run.fail_at = 1;
    assert_int_equal(save(2, &err), -1);
    run.fail_at = -1;
    assert_int_equal(err.code, ERR_DEVICE);
    wipe();
    assert_int_equal(load(INT64_MAX, &origin, note), 1);
    assert_filled(1);
}

static void test_other_origins(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char note[ERR_MESSAGE_MAX];
    fill(1);
    assert_int_equal(save(1, &err), 0);
    struct checkpoint other = origin;
    other.identity[3] = 'f';
    assert_int_equal(load(INT64_MAX, &other, note), -2 - (int)ERR_CONFLICT);
    const struct {
        size_t at;
        const char *word;
    } words[] = {{offsetof(struct checkpoint, device), "cuda:0"},
                 {offsetof(struct checkpoint, precision), "bf16"},
                 {offsetof(struct checkpoint, isa), "avx2"},
                 {offsetof(struct checkpoint, build), "v2"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        other = origin;
        strcpy((char *)&other + words[i].at, words[i].word);
        assert_int_equal(load(INT64_MAX, &other, note), -2 - (int)ERR_UNAVAILABLE);
    }
    other = origin;
    other.threads = 3;
    assert_int_equal(load(INT64_MAX, &other, note), -2 - (int)ERR_UNAVAILABLE);
    other = origin;
    other.vocab++;
    assert_int_equal(load(INT64_MAX, &other, note), -2 - (int)ERR_CORRUPT);
}

static void identity_of(const char *json, const struct dataset *dataset, char hex[HASH_HEX])
{
    struct err err = ERR_INIT;
    struct spec *spec = NULL;
    if (spec_parse(json, strlen(json), &spec, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(checkpoint_identity(spec, dataset, hex, &err), 0);
    spec_free(spec);
}

static void test_identity(void **state)
{
    (void)state;
    int64_t counts[3] = {4, 0, 1};
    int32_t ids[5] = {0, 2, 0, 0, 0};
    struct dataset dataset = {.vocab = 3, .ids = ids, .n = 5, .frequency = {3, counts, 5, 2, 1}};
    char plain[HASH_HEX], other[HASH_HEX];
    identity_of("{}", &dataset, plain);
    static const char *const same[] = {
        "{\"name\": \"x\", \"notes\": \"y\", \"tags\": [\"a\", \"b\"]}",
        "{\"resources\": {\"priority\": 5, \"device\": \"cpu\"}}",
        "{\"train\": {\"snapshots\": [1, 2]}}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        identity_of(same[i], &dataset, other);
        assert_string_equal(plain, other);
    }
    static const char *const different[] = {
        "{\"train\": {\"lr\": 0.002}}",
        "{\"train\": {\"seed\": 2}}",
        "{\"groups\": {\"size\": 99}}",
        "{\"corpus\": {\"variant\": \"raw\"}}",
    };
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        identity_of(different[i], &dataset, other);
        assert_string_not_equal(plain, other);
    }
    ids[1] = 0;
    ids[0] = 2;
    identity_of("{}", &dataset, other);
    assert_string_not_equal(plain, other);
}

static void test_remove(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(save(1, &err), 0);
    assert_int_equal(save(2, &err), 0);
    assert_int_equal(checkpoint_remove(dir, &err), 0);
    assert_false(exists("checkpoint"));
    assert_false(exists("checkpoint.previous"));
    assert_int_equal(checkpoint_remove(dir, &err), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),        TEST(test_not_beyond_what_was_stored),
        TEST(test_damage_falls_back), TEST(test_cut_files),
        TEST(test_disk_full),         TEST(test_other_origins),
        TEST(test_identity),          TEST(test_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
