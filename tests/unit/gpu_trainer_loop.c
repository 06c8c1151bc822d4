/* gpu_trainer_loop: the trainer's side of the protocol, spoken to over a socket as the
 * server does it, in a forked process. Records arrive without a gap and never
 * behind a checkpoint that needs them; a job that was stopped, or whose trainer
 * was killed, continues with the same bits; whatever a job dies of, the process
 * takes the next one; exit and EOF end it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/hash.h"
#include "config/record.h"
#include "gpu/trainer_loop.h"

enum { EPOCHS = 80, GROUPS = 3, TOKENS = 60, VALUES = RECORD_SCALARS + GROUPS * RECORD_FIELDS };
/* A checkpoint after every step slows a job down enough to be ended in its midst. */
enum { READ_MS = 60000, EVERY_STEP = 0, RARELY = 3600 };

#define JOB "00000000-0000-4000-8000-000000000001"
#define SPEC(train) SPEC_OF(train, "\"size\": 20")
#define SPEC_OF(train, groups)                                                                     \
    "{\"corpus\": {\"id\": \"gulliver-synthetic\"}, \"model\": {\"d_model\": 8, \"n_layers\": 1,"  \
    "\"n_heads\": 2, \"seq_len\": 4}, \"train\": {\"epochs\": 80, \"batch_size\": 2" train         \
    "}, \"groups\": {" groups "}}"

static char root[64];

struct trainer {
    int fd;
    pid_t pid;
    struct message_reader *reader;
    struct message message; /* last one */
};

/* What arrived of one job, over any number of trainers. */
struct account {
    int64_t stored; /* records 0 .. stored - 1 are here */
    int64_t began;  /* epoch of the last `started` */
    int checkpoints;
    int alive; /* signs of life since `started` */
    char records[EPOCHS + 1][VALUES * sizeof(double) + TOKENS * sizeof(float)];
};

static void start(struct trainer *trainer)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fflush(NULL);
    trainer->pid = fork();
    assert_true(trainer->pid >= 0);
    if (trainer->pid == 0) {
        struct err err = ERR_INIT;
        close(fds[0]);
        const char *share = getenv("TOKENFATE_SHARE");
        const struct runner_setup setup = {share ? share : "build/share", "cpu", "test", 1};
        _exit(trainer_loop_bind((int)getppid(), &err) == 0 &&
                      trainer_loop(&setup, fds[1], &err) == 0
                  ? 0
                  : 1);
    }
    close(fds[1]);
    trainer->fd = fds[0];
    trainer->reader = message_reader_new(fds[0]);
    memset(&trainer->message, 0, sizeof trainer->message);
    assert_non_null(trainer->reader);
}

/* Next message; 0 at EOF. */
static int next(struct trainer *trainer)
{
    struct err err = ERR_INIT;
    int got = message_read(trainer->reader, READ_MS, &trainer->message, &err);
    if (got == 0)
        fail_msg("the trainer is silent");
    if (got < 0 && err.code != ERR_IO)
        fail_msg("%s", err.message);
    return got > 0;
}

static void expect(struct trainer *trainer, enum message_type type)
{
    assert_true(next(trainer));
    assert_int_equal(trainer->message.type, type);
}

static void say(struct trainer *trainer, struct message message)
{
    struct err err = ERR_INIT;
    strcpy(message.job, JOB);
    if (message_write(trainer->fd, &message, &err) != 0)
        fail_msg("%s", err.message);
}

static void run_job(struct trainer *trainer, const char *spec, const char *dir, int64_t resume,
                    int64_t checkpoint_seconds)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, dir);
    say(trainer, (struct message){.type = MESSAGE_RUN,
                                  .spec = (char *)spec,
                                  .corpus = "",
                                  .model = "",
                                  .dir = path,
                                  .resume = resume,
                                  .checkpoint_seconds = checkpoint_seconds});
}

/* Exit status of the process, -1 if a signal ended it. */
static int finish(struct trainer *trainer)
{
    int status = 0;
    message_clear(&trainer->message);
    message_reader_free(trainer->reader);
    close(trainer->fd);
    assert_int_equal(waitpid(trainer->pid, &status, 0), trainer->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void greet(struct trainer *trainer)
{
    start(trainer);
    expect(trainer, MESSAGE_HELLO);
    assert_int_equal(trainer->message.version, MESSAGE_VERSION);
    assert_string_equal(trainer->message.text, "test");
    expect(trainer, MESSAGE_DEVICE);
    assert_string_equal(trainer->message.id, "cpu");
    assert_string_equal(trainer->message.text, "");
    expect(trainer, MESSAGE_DEVICE);
    assert_string_equal(trainer->message.id, "cuda:0");
    assert_string_not_equal(trainer->message.text, "");
    expect(trainer, MESSAGE_READY);
}

static void take_epochs(const struct message *message, struct account *account)
{
    size_t stride = VALUES * sizeof(double) + TOKENS * sizeof(float);
    assert_int_equal(message->n_values, VALUES);
    assert_int_equal(message->n_tokens, TOKENS);
    for (int64_t e = message->from; e <= message->to; e++) {
        char *record = (char *)message->payload + (size_t)(e - message->from) * stride;
        memset(record + RECORD_TOKENS_PER_SECOND * sizeof(double), 0, sizeof(double));
        assert_true(e <= account->stored && e <= EPOCHS);
        if (e < account->stored)
            assert_memory_equal(account->records[e], record, stride);
        memcpy(account->records[e], record, stride);
        account->stored = e == account->stored ? e + 1 : account->stored;
    }
}

/* Reads until the job ends (returns how) or the trainer is gone (-1). With
 * `order`, sends it as soon as `at` records are here; MESSAGE_TYPES kills. */
static int follow(struct trainer *trainer, struct account *account, int order, int64_t at)
{
    while (next(trainer)) {
        const struct message *message = &trainer->message;
        switch (message->type) {
        case MESSAGE_EPOCHS:
            assert_true(account->alive > 0); /* the first is due within the first step */
            take_epochs(message, account);
            break;
        case MESSAGE_STARTED:
            assert_true(message->epoch <= account->stored && message->bytes > 0);
            assert_string_equal(message->build, "test");
            account->began = message->epoch;
            account->alive = 0;
            break;
        case MESSAGE_CHECKPOINTED:
            assert_true(message->epoch <= account->stored);
            account->checkpoints++;
            break;
        case MESSAGE_ALIVE:
            account->alive++;
            break;
        case MESSAGE_LOG:
            break;
        default:
            return (int)message->type;
        }
        if (order >= 0 && account->stored >= at) {
            if (order == MESSAGE_TYPES)
                kill(trainer->pid, SIGKILL);
            else
                say(trainer, (struct message){.type = (enum message_type)order});
            order = -1;
        }
    }
    return -1;
}

static struct account *undisturbed(struct trainer *trainer)
{
    struct account *account = calloc(1, sizeof *account);
    assert_non_null(account);
    run_job(trainer, SPEC(""), "undisturbed", 0, RARELY);
    assert_int_equal(follow(trainer, account, -1, 0), MESSAGE_DONE);
    assert_int_equal(account->stored, EPOCHS + 1);
    return account;
}

static void test_stop_and_resume(void **state)
{
    (void)state;
    struct trainer trainer;
    greet(&trainer);
    struct account *whole = undisturbed(&trainer), *account = calloc(1, sizeof *account);
    assert_non_null(account);
    run_job(&trainer, SPEC(""), "stopped", 0, EVERY_STEP);
    assert_int_equal(follow(&trainer, account, MESSAGE_STOP, 5), MESSAGE_STOPPED);
    assert_int_equal(account->stored, trainer.message.epoch + 1);
    assert_true(account->stored <= EPOCHS);
    int64_t stopped_at = account->stored;
    run_job(&trainer, SPEC(""), "stopped", stopped_at, RARELY);
    assert_int_equal(follow(&trainer, account, -1, 0), MESSAGE_DONE);
    assert_int_equal(account->began, stopped_at);
    assert_memory_equal(whole->records, account->records, sizeof whole->records);
    say(&trainer, (struct message){.type = MESSAGE_EXIT});
    assert_int_equal(finish(&trainer), 0);
    free(whole);
    free(account);
}

static void test_kill_and_resume(void **state)
{
    (void)state;
    struct trainer trainer;
    greet(&trainer);
    struct account *whole = undisturbed(&trainer), *account = calloc(1, sizeof *account);
    assert_non_null(account);
    run_job(&trainer, SPEC(""), "killed", 0, EVERY_STEP);
    int how = follow(&trainer, account, MESSAGE_TYPES, 4);
    assert_true(how == -1 && account->stored <= EPOCHS);
    assert_true(account->checkpoints > 0);
    assert_int_equal(finish(&trainer), -1);
    greet(&trainer);
    run_job(&trainer, SPEC(""), "killed", account->stored, RARELY);
    assert_int_equal(follow(&trainer, account, -1, 0), MESSAGE_DONE);
    assert_true(account->began > 0);
    assert_memory_equal(whole->records, account->records, sizeof whole->records);
    assert_int_equal(finish(&trainer), 0); /* EOF */
    free(whole);
    free(account);
}

static void assert_fails(struct trainer *trainer, const char *spec, const char *code, int64_t epoch)
{
    struct account *account = calloc(1, sizeof *account);
    assert_non_null(account);
    run_job(trainer, spec, "failing", 0, RARELY);
    assert_int_equal(follow(trainer, account, -1, 0), MESSAGE_FAILED);
    assert_string_equal(trainer->message.code, code);
    assert_int_equal(trainer->message.epoch, epoch);
    assert_int_equal(account->stored, epoch); /* every record before it is here */
    assert_string_not_equal(trainer->message.text, "");
    free(account);
}

static void test_takes_the_next_job(void **state)
{
    (void)state;
    struct trainer trainer;
    struct account *account = calloc(1, sizeof *account);
    assert_non_null(account);
    greet(&trainer);
    run_job(&trainer, SPEC(""), "cancelled", 0, EVERY_STEP);
    assert_int_equal(follow(&trainer, account, MESSAGE_CANCEL, 3), MESSAGE_CANCELLED);
    assert_true(account->stored <= EPOCHS);
    say(&trainer, (struct message){.type = MESSAGE_CANCEL}); /* too late */
    assert_fails(&trainer, "{\"modell\": 1}", "invalid", 0);
    assert_fails(&trainer, SPEC(", \"optimizer\": \"sgd\", \"lr\": 1e12"), "diverged", 2);
    assert_fails(&trainer, "{\"corpus\": {\"id\": \"missing\"}}", "invalid", 0);
    assert_fails(&trainer, SPEC("}, \"resources\": {\"device\": \"cuda\""), "unavailable", 0);
    assert_non_null(strstr(trainer.message.text, "device cuda"));
    free(account);
    free(undisturbed(&trainer));
    assert_int_equal(finish(&trainer), 0);
}

/* What a trainer keeps from the job before reaches no number of the next. */
static void test_warm_is_cold(void **state)
{
    (void)state;
    static const char *const specs[] = {SPEC_OF("", "\"size\": 20, \"ties\": \"id\""),
                                        SPEC(", \"seed_groups\": 7"), SPEC(", \"lr\": 0.01")};
    struct trainer warm;
    greet(&warm);
    struct account *before = undisturbed(&warm);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct trainer trainers[2] = {warm};
        struct account *accounts[2];
        greet(&trainers[1]);
        for (int cold = 0; cold < 2; cold++) {
            accounts[cold] = calloc(1, sizeof *accounts[cold]);
            assert_non_null(accounts[cold]);
            run_job(&trainers[cold], specs[i], "", 0, RARELY);
            assert_int_equal(follow(&trainers[cold], accounts[cold], -1, 0), MESSAGE_DONE);
        }
        assert_memory_equal(accounts[0]->records, accounts[1]->records,
                            sizeof accounts[0]->records);
        assert_memory_not_equal(before->records, accounts[0]->records, sizeof before->records);
        free(accounts[0]);
        free(accounts[1]);
        assert_int_equal(finish(&trainers[1]), 0);
        warm = trainers[0];
    }
    free(before);
    assert_int_equal(finish(&warm), 0);
}

/* Records so large that a few fill a message: more messages, none left out. */
static void test_large_records(void **state)
{
    (void)state;
    enum { LARGE = 5000 };
    struct trainer trainer;
    int64_t due = 0;
    greet(&trainer);
    run_job(&trainer, SPEC_OF("", "\"size\": 5000"), "", 0, RARELY);
    while (next(&trainer) && trainer.message.type != MESSAGE_DONE) {
        if (trainer.message.type != MESSAGE_EPOCHS)
            continue;
        assert_int_equal(trainer.message.n_tokens, GROUPS * LARGE);
        assert_int_equal(trainer.message.from, due);
        assert_true(trainer.message.payload_bytes <= 1 << 20);
        due = trainer.message.to + 1;
    }
    assert_int_equal(trainer.message.type, MESSAGE_DONE);
    assert_int_equal(due, EPOCHS + 1);
    assert_int_equal(finish(&trainer), 0);
}

static void test_exit_during_a_job(void **state)
{
    (void)state;
    struct trainer trainer;
    struct account *account = calloc(1, sizeof *account);
    assert_non_null(account);
    greet(&trainer);
    run_job(&trainer, SPEC(""), "left", 0, EVERY_STEP);
    assert_int_equal(follow(&trainer, account, MESSAGE_EXIT, 3), MESSAGE_CANCELLED);
    assert_true(account->stored <= EPOCHS);
    assert_false(next(&trainer));
    assert_int_equal(finish(&trainer), 0);
    free(account);
}

static void test_nonsense_ends_it(void **state)
{
    (void)state;
    struct trainer trainer;
    greet(&trainer);
    assert_int_equal(write(trainer.fd, "nonsense\n", 9), 9);
    assert_false(next(&trainer));
    assert_int_equal(finish(&trainer), 1);

    greet(&trainer);
    run_job(&trainer, SPEC(""), "twice", 0, EVERY_STEP);
    run_job(&trainer, SPEC(""), "twice", 0, EVERY_STEP);
    struct account *account = calloc(1, sizeof *account);
    assert_non_null(account);
    assert_int_equal(follow(&trainer, account, -1, 0), MESSAGE_CANCELLED);
    assert_int_equal(finish(&trainer), 1);
    free(account);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    signal(SIGPIPE, SIG_IGN);
    strcpy(root, "/tmp/gpu_trainer_loop.XXXXXX");
    return mkdtemp(root) && hash_init(&err) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_resume),    cmocka_unit_test(test_kill_and_resume),
        cmocka_unit_test(test_takes_the_next_job), cmocka_unit_test(test_warm_is_cold),
        cmocka_unit_test(test_large_records),      cmocka_unit_test(test_exit_during_a_job),
        cmocka_unit_test(test_nonsense_ends_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
