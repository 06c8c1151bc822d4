/* Files of deleted jobs: whatever a crash parted, the next start finishes or
 * undoes it. */
#include "tests/unit/db_fixture.h"

#include <sys/stat.h>

#include "server/queue/job_files.h"

struct room {
    struct fixture *f;
    struct settings settings;
};

static int room_open(void **state)
{
    void *fixture = NULL;
    char path[128];
    struct room *room = calloc(1, sizeof *room);
    assert_non_null(room);
    fixture_open(&fixture);
    room->f = fixture;
    snprintf(room->settings.data, sizeof room->settings.data, "%s", room->f->folder);
    snprintf(path, sizeof path, "%s/jobs", room->f->folder);
    assert_int_equal(mkdir(path, 0777), 0);
    *state = room;
    return 0;
}

static int room_close(void **state)
{
    struct room *room = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/jobs", room->f->folder);
    assert_int_equal(system(command), 0);
    void *fixture = room->f;
    fixture_close(&fixture);
    free(room);
    return 0;
}

/* data/jobs/NAME/model/epoch-0 */
static void make(const struct room *room, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/jobs/%s", room->f->folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
    strcat(path, "/model");
    assert_int_equal(mkdir(path, 0777), 0);
    strcat(path, "/epoch-0");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static int is_there(const struct room *room, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/jobs/%s", room->f->folder, name);
    return access(path, F_OK) == 0;
}

static void test_delete(void **state)
{
    struct room *room = *state;
    struct err err = ERR_INIT;
    make(room, "one");
    assert_int_equal(job_files_set_aside(&room->settings, "one", &err), 0);
    assert_false(is_there(room, "one"));
    job_files_put_back(&room->settings, "one");
    assert_true(is_there(room, "one/model/epoch-0"));
    assert_int_equal(job_files_set_aside(&room->settings, "one", &err), 0);
    assert_int_equal(job_files_remove(&room->settings, "one", &err), 0);
    assert_false(is_there(room, ".deleted-one"));
    /* A job that has never started has no files. */
    assert_int_equal(job_files_set_aside(&room->settings, "two", &err), 0);
    assert_int_equal(job_files_remove(&room->settings, "two", &err), 0);
}

static void write_bytes(const struct room *room, const char *name, int n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/jobs/%s", room->f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    while (n-- > 0)
        putc('x', file);
    assert_int_equal(fclose(file), 0);
}

static void test_measure(void **state)
{
    struct room *room = *state;
    make(room, "one");
    write_bytes(room, "one/model/epoch-0", 1000);
    write_bytes(room, "one/model/epoch-1", 200);
    write_bytes(room, "one/checkpoint", 30);
    write_bytes(room, "one/checkpoint.previous", 4);
    write_bytes(room, "one/log", 50000);
    const struct job_sizes one = job_files_measure(&room->settings, "one");
    assert_int_equal(one.model, 1200);
    assert_int_equal(one.state, 34);
    assert_int_equal(one.total, 51234);
    assert_int_equal(job_files_measure(&room->settings, "none").total, 0);
}

/* A part goes and the rest stays. What a crash leaves aside goes at the next start. */
static void test_part(void **state)
{
    struct room *room = *state;
    struct err err = ERR_INIT;
    make(room, "one");
    write_bytes(room, "one/checkpoint", 30);
    write_bytes(room, "one/log", 5);
    assert_int_equal(job_files_part_set_aside(&room->settings, "one", RETENTION_STATE, &err), 0);
    assert_false(is_there(room, "one/checkpoint"));
    assert_true(is_there(room, "one/model/epoch-0"));
    job_files_part_put_back(&room->settings, "one", RETENTION_STATE);
    assert_true(is_there(room, "one/checkpoint"));
    assert_false(is_there(room, ".deleted-one.state"));
    assert_int_equal(job_files_part_set_aside(&room->settings, "one", RETENTION_MODELS, &err), 0);
    assert_int_equal(job_files_part_remove(&room->settings, "one", RETENTION_MODELS, &err), 0);
    assert_false(is_there(room, "one/model"));
    assert_false(is_there(room, ".deleted-one.models"));
    assert_int_equal(job_files_part_set_aside(&room->settings, "one", RETENTION_STATE, &err), 0);
    assert_int_equal(job_files_sweep(&room->settings, room->f->reader, &err), 0);
    assert_false(is_there(room, ".deleted-one.state"));
    assert_true(is_there(room, "one/log"));
    /* A job without files. */
    assert_int_equal(job_files_part_set_aside(&room->settings, "two", RETENTION_STATE, &err), 0);
    assert_int_equal(job_files_part_remove(&room->settings, "two", RETENTION_STATE, &err), 0);
}

static void test_sweep(void **state)
{
    struct room *room = *state;
    struct db_reader *reader = NULL;
    struct err err = ERR_INIT;
    struct job job = job_example("kept");
    assert_int_equal(insert(room->f, &job), 0);
    make(room, ".deleted-kept");
    make(room, ".deleted-gone");
    make(room, "other");
    assert_int_equal(db_reader_open(room->f->db, &reader, &err), 0);
    assert_int_equal(job_files_sweep(&room->settings, reader, &err), 0);
    db_reader_close(reader);
    assert_true(is_there(room, "kept/model/epoch-0"));
    assert_false(is_there(room, ".deleted-kept"));
    assert_false(is_there(room, ".deleted-gone"));
    assert_true(is_there(room, "other/model/epoch-0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_delete, room_open, room_close),
        cmocka_unit_test_setup_teardown(test_sweep, room_open, room_close),
        cmocka_unit_test_setup_teardown(test_measure, room_open, room_close),
        cmocka_unit_test_setup_teardown(test_part, room_open, room_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
