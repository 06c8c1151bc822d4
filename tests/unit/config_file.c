/* file: whole transfers, maps, atomic replacement and removal, in a folder of its own. */
#include "config/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static const char *at(const char *name)
{
    static char path[4][PATH_MAX];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, PATH_MAX, "%s/%s", folder, name);
    return to;
}

static void put(const char *name, const char *text)
{
    FILE *out = fopen(at(name), "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void check(const char *name, const char *text)
{
    char found[64] = "";
    FILE *in = fopen(at(name), "r");
    assert_non_null(in);
    assert_true(fgets(found, sizeof found, in) != NULL || !*text);
    fclose(in);
    assert_string_equal(found, text);
}

static int is_there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static void test_folders(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(file_make_folders(at("a/b/c"), &err), 0);
    assert_int_equal(file_make_folder(at("a/b/c"), &err), 0); /* it is there */
    assert_int_equal(file_sync_folder(at("a/b"), &err), 0);
    assert_int_equal(file_make_folder(at("x/y"), &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void test_atomic(void **state)
{
    struct err err = ERR_INIT;
    struct file_atomic file;
    struct stat info;
    (void)state;
    put("kept", "old");
    assert_int_equal(file_atomic_open(&file, folder, "kept", 0600, &err), 0);
    fputs("new", file.out);
    check("kept", "old");
    assert_int_equal(file_atomic_commit(&file, &err), 0);
    check("kept", "new");
    assert_false(is_there("kept.new"));
    assert_int_equal(stat(at("kept"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    put("kept.new", "left by a process that was killed");
    assert_int_equal(file_atomic_open(&file, folder, "kept", 0600, &err), 0);
    fputs("never", file.out);
    file_atomic_abort(&file);
    check("kept", "new");
    assert_false(is_there("kept.new"));
}

/* The disk is full: the old file stays, nothing else is left. */
static void test_full(void **state)
{
    struct err err = ERR_INIT;
    struct file_atomic file;
    (void)state;
    put("kept", "old");
    assert_int_equal(file_atomic_open(&file, folder, "kept", 0600, &err), 0);
    int full = open("/dev/full", O_WRONLY);
    assert_int_not_equal(dup2(full, fileno(file.out)), -1);
    close(full);
    fputs("new", file.out);
    assert_int_equal(file_atomic_commit(&file, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    check("kept", "old");
    assert_false(is_there("kept.new"));
}

static void test_whole(void **state)
{
    struct err err = ERR_INIT;
    char bytes[8] = "";
    (void)state;
    int fd = open(at("whole"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(file_write_whole(fd, "12345678", 8, "whole", &err), 0);
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    assert_int_equal(file_read_whole(fd, bytes, 4, "whole", &err), 0);
    assert_memory_equal(bytes, "5678", 4);
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    assert_int_equal(file_read_whole(fd, bytes, 5, "whole", &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    close(fd);
}

static void test_map(void **state)
{
    struct err err = ERR_INIT;
    struct file_map map = {0};
    (void)state;
    put("map", "abc");
    assert_int_equal(file_map_open(at("map"), &map, &err), 0);
    assert_int_equal(map.n, 3);
    assert_memory_equal(map.bytes, "abc", 3);
    file_map_close(&map);
    file_map_close(&map);
    static const struct {
        const char *name;
        enum err_code code;
    } refused[] = {{"nothing", ERR_NOT_FOUND}, {"empty", ERR_CORRUPT}, {"fifo", ERR_CORRUPT}};
    put("empty", "");
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(file_map_open(at(refused[i].name), &map, &err), -1);
        assert_int_equal(err.code, refused[i].code);
        assert_null(map.bytes);
    }
}

/* What lies outside and is only linked to stays. */
static void test_remove(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(file_make_folders(at("tree/one/two"), &err), 0);
    assert_int_equal(file_make_folder(at("outside"), &err), 0);
    put("tree/log", "1");
    put("tree/one/log", "2");
    put("tree/one/two/x", "3");
    put("outside/kept", "4");
    assert_int_equal(symlink(at("outside"), at("tree/link")), 0);
    assert_int_equal(file_clear_folder(at("tree"), "log", &err), 0);
    check("tree/log", "1");
    assert_false(is_there("tree/one"));
    assert_false(is_there("tree/link"));
    check("outside/kept", "4");
    assert_int_equal(file_remove_folder(at("tree"), &err), 0);
    assert_false(is_there("tree"));
    assert_int_equal(file_remove_folder(at("tree"), &err), 0); /* it is gone */
}

static void test_copy(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat from, to;
    const struct timespec times[2] = {{1000, 5}, {2000, 7}};
    put("original", "content");
    assert_int_equal(utimensat(AT_FDCWD, at("original"), times, 0), 0);
    assert_int_equal(file_copy(at("original"), at("copy"), &err), 0);
    check("copy", "content");
    assert_int_equal(stat(at("original"), &from) | stat(at("copy"), &to), 0);
    assert_int_not_equal(from.st_ino, to.st_ino);
    assert_int_equal(to.st_mtim.tv_sec, 2000);
    assert_int_equal(to.st_mtim.tv_nsec, 7);
    put("original", "other");
    check("copy", "content");
    assert_int_equal(file_copy(at("original"), at("copy"), &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    check("copy", "content");
    err_clear(&err);
    assert_int_equal(file_copy(at("missing"), at("none"), &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(is_there("none"));
    put("empty", "");
    assert_int_equal(file_copy(at("empty"), at("empty.copy"), &err), 0);
    assert_true(is_there("empty.copy"));
}

/* Two that remove the same tree get in each other's way, and neither fails. */
static void test_remove_twice(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct err err = ERR_INIT;
        char name[64];
        for (int i = 0; i < 60; i++) {
            snprintf(name, sizeof name, "shared/%d/%d", i % 6, i);
            assert_int_equal(file_make_folders(at(name), &err), 0);
        }
        const pid_t other = fork();
        if (other == 0)
            _exit(file_remove_folder(at("shared"), NULL) != 0);
        const int failed = file_remove_folder(at("shared"), &err);
        int status = 0;
        assert_int_equal(waitpid(other, &status, 0), other);
        assert_string_equal(err.message, "");
        assert_int_equal(failed | status, 0);
        assert_false(is_there("shared"));
    }
}

static void test_private(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat info;
    assert_int_equal(file_make_private(at("above/own"), &err), 0);
    assert_int_equal(stat(at("above/own"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    assert_int_equal(stat(at("above"), &info), 0);
    assert_int_not_equal(info.st_mode & 07777, 0700);
    assert_int_equal(file_make_private(at("above/own"), &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),      cmocka_unit_test(test_atomic),
        cmocka_unit_test(test_full),         cmocka_unit_test(test_whole),
        cmocka_unit_test(test_map),          cmocka_unit_test(test_remove),
        cmocka_unit_test(test_copy),         cmocka_unit_test(test_private),
        cmocka_unit_test(test_remove_twice),
    };
    strcpy(folder, "/tmp/config_file_XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return file_remove_folder(folder, NULL) ? 1 : failed;
}
