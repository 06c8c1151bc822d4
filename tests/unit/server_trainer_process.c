/* trainer_process against a trainer that misbehaves on purpose (fake_trainer,
 * expected beside this program): it starts, talks and ends in bounded time
 * whatever the child does, and leaves no child and no descriptor behind. */
#include "server/queue/trainer_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct settings settings;

static int start(const char *mode, struct trainer_process **process, struct err *err)
{
    setenv("FAKE_TRAINER", mode, 1);
    err_clear(err);
    return trainer_process_start(&settings, "cpu", process, err);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct message run_message(int64_t resume)
{
    struct message run = {.type = MESSAGE_RUN,
                          .spec = "{\"train\":{\"epochs\":5},\"groups\":{\"size\":2}}",
                          .corpus = "",
                          .model = "",
                          .dir = "/tmp",
                          .resume = resume};
    strcpy(run.job, "local");
    return run;
}

/* Receive until a message of this type comes (1), or an error (-1). */
static int receive_until(struct trainer_process *process, enum message_type type,
                         struct message *message, struct err *err)
{
    int got;
    do
        got = trainer_process_receive(process, 5000, -1, message, err);
    while (got == 1 && message->type != type);
    return got;
}

static void test_greeting(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct err err = ERR_INIT;
    char how[96];
    int n;
    assert_int_equal(start("good", &process, &err), 0);
    const struct trainer_device *devices = trainer_process_devices(process, &n);
    assert_int_equal(n, 2);
    assert_string_equal(devices[0].id, "cpu");
    assert_true(devices[0].available);
    assert_int_equal(devices[0].memory_bytes, INT64_C(8) << 30);
    assert_int_equal(devices[0].free_bytes, INT64_C(4) << 30);
    assert_string_equal(devices[1].kind, "cuda");
    assert_false(devices[1].available);
    assert_string_equal(devices[1].reason, "there is no GPU here");
    assert_string_equal(trainer_process_build(process), "fake");
    assert_int_equal(kill(trainer_process_pid(process), 0), 0);
    trainer_process_end(process, 2000, how, sizeof how);
    assert_string_equal(how, "exited with status 0");
    trainer_process_end(NULL, 0, how, sizeof how);
}

static void test_a_run(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message run = run_message(0), message = {0};
    struct err err = ERR_INIT;
    char how[96];
    assert_int_equal(start("good", &process, &err), 0);
    for (int repeat = 0; repeat < 2; repeat++) {
        assert_int_equal(trainer_process_send(process, &run, &err), 0);
        for (int epoch = 0; epoch <= 5; epoch++) {
            assert_int_equal(receive_until(process, MESSAGE_EPOCHS, &message, &err), 1);
            assert_int_equal(message.from, epoch);
        }
        assert_int_equal(receive_until(process, MESSAGE_DONE, &message, &err), 1);
        assert_string_equal(message.job, "local");
    }
    message_clear(&message);
    trainer_process_end(process, 2000, how, sizeof how);
    assert_string_equal(how, "exited with status 0");
}

static void test_bad_starts(void **state)
{
    (void)state;
    static const struct {
        const char *mode;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"exit", ERR_UNAVAILABLE, "exited with status 3"},
        {"mute", ERR_TIMEOUT, "1 second"},
        {"version", ERR_PROTOCOL, "the trainer speaks version"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trainer_process *process = NULL;
        struct err err = ERR_INIT;
        int64_t before = now_ms();
        assert_int_equal(start(cases[i].mode, &process, &err), -1);
        assert_null(process);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].says))
            fail_msg("%s: %s", cases[i].mode, err.message);
        assert_true(now_ms() - before < 4000);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
}

static void test_no_program(void **state)
{
    (void)state;
    struct trainer_process *process = NULL;
    struct settings elsewhere = settings;
    struct err err = ERR_INIT;
    strcpy(elsewhere.trainer, "/nonexistent/trainer");
    assert_int_equal(trainer_process_start(&elsewhere, "cpu", &process, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "/nonexistent/trainer"));
    strcpy(elsewhere.trainer, "/bin/true");
    assert_int_equal(trainer_process_start(&elsewhere, "cpu", &process, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "exited with status 0"));
    strcpy(elsewhere.trainer, "/bin/echo");
    assert_int_equal(trainer_process_start(&elsewhere, "cpu", &process, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void test_crash(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message run = run_message(0), message = {0};
    struct err err = ERR_INIT;
    char how[96];
    assert_int_equal(start("crash", &process, &err), 0);
    assert_int_equal(trainer_process_send(process, &run, &err), 0);
    for (int epoch = 0; epoch < 3; epoch++)
        assert_int_equal(receive_until(process, MESSAGE_EPOCHS, &message, &err), 1);
    assert_int_equal(receive_until(process, MESSAGE_EPOCHS, &message, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    trainer_process_end(process, 500, how, sizeof how);
    assert_string_equal(how, "killed by signal 6 (Aborted)");
    /* Behind its bad epoch it ends well. */
    run = run_message(4);
    assert_int_equal(start("crash", &process, &err), 0);
    assert_int_equal(trainer_process_send(process, &run, &err), 0);
    assert_int_equal(receive_until(process, MESSAGE_DONE, &message, &err), 1);
    message_clear(&message);
    trainer_process_end(process, 2000, how, sizeof how);
}

static void test_garbage(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message run = run_message(0), message = {0};
    struct err err = ERR_INIT;
    char how[96];
    assert_int_equal(start("garbage", &process, &err), 0);
    assert_int_equal(trainer_process_send(process, &run, &err), 0);
    assert_int_equal(receive_until(process, MESSAGE_DONE, &message, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    message_clear(&message);
    trainer_process_end(process, 0, how, sizeof how);
    assert_string_equal(how, "killed by signal 9 (Killed)");
}

static void test_a_trainer_that_hangs_is_killed(void **state)
{
    (void)state;
    static const char *const modes[] = {"hang", "deaf"};
    for (size_t i = 0; i < 2; i++) {
        struct trainer_process *process;
        struct message run = run_message(0), message = {0};
        struct err err = ERR_INIT;
        char how[96];
        assert_int_equal(start(modes[i], &process, &err), 0);
        assert_int_equal(trainer_process_send(process, &run, &err), 0);
        int got;
        do
            got = trainer_process_receive(process, 300, -1, &message, &err);
        while (got == 1);
        assert_int_equal(got, 0);
        int64_t before = now_ms();
        trainer_process_end(process, 300, how, sizeof how);
        assert_string_equal(how, "killed by signal 9 (Killed)");
        assert_in_range(now_ms() - before, 290, 2000);
        message_clear(&message);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message run = run_message(0), message = {0};
    struct message cancel = {.type = MESSAGE_CANCEL, .job = "local"};
    struct err err = ERR_INIT;
    char how[96];
    setenv("FAKE_TRAINER_MS", "100", 1);
    assert_int_equal(start("good", &process, &err), 0);
    assert_int_equal(trainer_process_send(process, &run, &err), 0);
    assert_int_equal(trainer_process_send(process, &cancel, &err), 0);
    assert_int_equal(receive_until(process, MESSAGE_CANCELLED, &message, &err), 1);
    assert_true(message.epoch < 5);
    message_clear(&message);
    trainer_process_end(process, 2000, how, sizeof how);
    unsetenv("FAKE_TRAINER_MS");
}

static void test_waiting(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message message = {0};
    struct err err = ERR_INIT;
    char how[96];
    int wake[2];
    assert_int_equal(pipe2(wake, O_CLOEXEC), 0);
    assert_int_equal(start("good", &process, &err), 0);
    int64_t before = now_ms();
    assert_int_equal(trainer_process_receive(process, 60, wake[0], &message, &err), 0);
    assert_in_range(now_ms() - before, 55, 2000);
    assert_int_equal(write(wake[1], "x", 1), 1);
    before = now_ms();
    assert_int_equal(trainer_process_receive(process, 10000, wake[0], &message, &err), 0);
    assert_true(now_ms() - before < 1000);
    close(wake[0]);
    close(wake[1]);
    trainer_process_end(process, 2000, how, sizeof how);
}

static void test_send_to_the_dead(void **state)
{
    (void)state;
    struct trainer_process *process;
    struct message run = run_message(0);
    struct err err = ERR_INIT;
    char how[96];
    assert_int_equal(start("good", &process, &err), 0);
    kill(trainer_process_pid(process), SIGKILL);
    int result = 0;
    for (int i = 0; i < 200 && result == 0; i++) {
        result = trainer_process_send(process, &run, &err);
        usleep(5000);
    }
    assert_int_equal(result, -1);
    assert_int_equal(err.code, ERR_IO);
    trainer_process_end(process, 100, how, sizeof how);
    assert_string_equal(how, "killed by signal 9 (Killed)");
}

/* The lock of the data folder reaches the child even when it is descriptor 3. */
static void test_lock_is_inherited(void **state)
{
    (void)state;
    char path[] = "/tmp/server_trainer_process_XXXXXX", how[96];
    struct trainer_process *process;
    struct err err = ERR_INIT;
    int saved = fcntl(3, F_DUPFD_CLOEXEC, 50);
    int lock = mkstemp(path);
    assert_true(lock >= 0);
    assert_int_equal(dup2(lock, 3), 3);
    if (lock != 3)
        close(lock);
    assert_int_equal(flock(3, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(start("good", &process, &err), 0);
    close(3);
    int other = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    trainer_process_end(process, 2000, how, sizeof how);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
    unlink(path);
    if (saved >= 0) {
        dup2(saved, 3);
        close(saved);
    }
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    int before = count_descriptors();
    struct trainer_process *process;
    struct err err = ERR_INIT;
    char how[96];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(start("good", &process, &err), 0);
        trainer_process_end(process, 2000, how, sizeof how);
        assert_int_equal(start("exit", &process, &err), -1);
    }
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
    struct err err = ERR_INIT;
    int used;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),
        cmocka_unit_test(test_a_run),
        cmocka_unit_test(test_bad_starts),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_crash),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_a_trainer_that_hangs_is_killed),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_send_to_the_dead),
        cmocka_unit_test(test_lock_is_inherited),
        cmocka_unit_test(test_nothing_is_left),
    };
    if (settings_load(&settings, NULL, 0, NULL, &used, &err) ||
        settings_beside("fake_trainer", settings.trainer, sizeof settings.trainer, &err))
        return 1;
    settings.heartbeat_seconds = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
