/* gpu_signals: thousands of signals a second, sent to a whole trainer and to each of its threads,
 * change no bit of a run and run no handler in it, on every instruction set and precision of this
 * machine. The trainers are forked processes with handlers for all that may have one: without the
 * mask a handler's frame lands in the heap, because oneDNN's loops use the stack pointer for data. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/hash.h"
#include "gpu/cpu/cpu_isa.h"
#include "gpu/signals.h"
#include "gpu/standalone.h"

enum { TEXT_WORDS = 3000, OUT_MAX = 1 << 19, THREADS = 2, STORM_US = 50 };

#define SPEC                                                                                       \
    "{\"corpus\": {\"id\": \"words.txt\", \"tokenizer\": \"bytes\"}, \"model\": {\"d_model\": 64," \
    " \"n_layers\": 1, \"n_heads\": 2, \"seq_len\": 32}, \"train\": {\"epochs\": 30,"              \
    " \"batch_size\": 8, \"precision\": \"%s\"}, \"groups\": {\"size\": 10}}"

/* Sent to a trainer that goes on: every kind that a timer, a batch system, a terminal or a
 * profiler sends, and a real-time one, of which several may be pending. */
static int storm[] = {SIGUSR1,  SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF,
                      SIGWINCH, SIGIO,   SIGURG,  SIGCHLD,   0 /* SIGRTMIN */};
enum { STORM = sizeof storm / sizeof *storm };

static char root[64];
static volatile int *n_handled; /* handlers that ran in trainers, shared with them */

static void on_signal(int number)
{
    (void)number;
    __atomic_add_fetch(n_handled, 1, __ATOMIC_RELAXED);
}

static void path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", root, name);
}

/* A process that trains as tokenfate-trainer does; prints to the file. Threads of OpenMP do not
 * survive a fork, so this process never computes. */
static pid_t start(const char *isa, const char *precision, const char *file)
{
    char json[1024], path[128];
    struct err err = ERR_INIT;
    snprintf(json, sizeof json, SPEC, precision);
    path_of(file, path);
    unlink(path);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    setenv("TOKENFATE_ISA", isa, 1);
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < STORM; i++)
        sigaction(storm[i], &action, NULL);
    const char *share = getenv("TOKENFATE_SHARE");
    const struct runner_setup setup = {share ? share : "build/share", "cpu", "test", THREADS};
    const struct standalone_options options = {
        .corpus_path = root, .dir = "", .checkpoint_seconds = 3600};
    FILE *in = fmemopen(json, strlen(json), "r"), *out = fopen(path, "we");
    const int result = in && out && standalone(&setup, &options, in, out, &err) == 0;
    if (!result)
        fprintf(stderr, "%s %s: %s\n", isa, precision, err.message);
    _exit(result ? 0 : 1);
}

static char *read_file(const char *file)
{
    char path[128];
    path_of(file, path);
    FILE *in = fopen(path, "re");
    char *text = calloc(1, OUT_MAX);
    assert_non_null(in);
    assert_non_null(text);
    assert_true(fread(text, 1, OUT_MAX - 1, in) < OUT_MAX - 1);
    fclose(in);
    return text;
}

/* What a trainer printed, without the numbers that depend on time. */
static char *records_of(const char *file)
{
    static const char rate[] = "\"tokens_per_second\":";
    char *text = read_file(file), *from;
    for (char *at = text; (from = strstr(at, rate)) != NULL;) {
        at = from + strlen(rate);
        const char *rest = at + strcspn(at, ",}");
        memmove(at, rest, strlen(rest) + 1);
    }
    assert_non_null(strstr(text, "\"epoch\":30"));
    assert_non_null(strstr(text, "\"type\":\"done\""));
    return text;
}

/* One signal to each thread of the process, which may end meanwhile. */
static int send_to_threads(pid_t pid, int number)
{
    char path[64];
    int n_sent = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            n_sent += syscall(SYS_tgkill, pid, atoi(entry->d_name), number) == 0;
    if (folder)
        closedir(folder);
    return n_sent;
}

/* It begins with the trainer's first line, after which it computes. Wait status of the process. */
static int send_storm(pid_t pid, const char *file, int *n_sent)
{
    char path[128];
    struct stat out = {0};
    int status = 0;
    path_of(file, path);
    for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
        if (out.st_size > 0 || (stat(path, &out) == 0 && out.st_size > 0))
            *n_sent += (kill(pid, storm[i % STORM]) == 0) + send_to_threads(pid, storm[i % STORM]);
        usleep(STORM_US);
    }
    return status;
}

static int is_here(const char *isa)
{
    enum cpu_isa chosen;
    struct err why = ERR_INIT;
    setenv("TOKENFATE_ISA", isa, 1);
    const int here = cpu_isa_choose(&chosen, &why) == 0;
    unsetenv("TOKENFATE_ISA");
    return here;
}

static void check(const char *isa, const char *precision)
{
    int status = 0, n_sent = 0;
    pid_t calm = start(isa, precision, "calm");
    assert_int_equal(waitpid(calm, &status, 0), calm);
    assert_int_equal(status, 0);
    *n_handled = 0;
    status = send_storm(start(isa, precision, "storm"), "storm", &n_sent);
    if (status != 0)
        fail_msg("%s %s: wait status %#x after %d signals", isa, precision, status, n_sent);
    if (*n_handled != 0)
        fail_msg("%s %s: %d handlers ran", isa, precision, *n_handled);
    assert_true(n_sent > 100);
    char *before = records_of("calm"), *after = records_of("storm");
    assert_string_equal(before, after);
    free(before), free(after);
}

static void test_storm(void **state)
{
    (void)state;
    for (enum cpu_isa isa = 0; isa < CPU_ISAS; isa++) {
        if (!is_here(cpu_isa_name(isa)))
            continue;
        check(cpu_isa_name(isa), "fp32");
        check(cpu_isa_name(isa), "bf16");
    }
}

static int is_blocked(int number)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, number);
}

static void test_interrupts_are_polled(void **state)
{
    (void)state;
    static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
    static const int left_alone[] = {SIGSEGV, SIGABRT, SIGQUIT, SIGTSTP, SIGCONT, SIGPIPE};
    signals_block();
    assert_int_equal(signals_interrupted(), 0);
    for (size_t i = 0; i < sizeof interrupts / sizeof *interrupts; i++) {
        assert_true(is_blocked(interrupts[i]));
        raise(interrupts[i]);
        assert_int_equal(signals_interrupted(), 1);
        assert_int_equal(signals_interrupted(), 0);
    }
    raise(SIGUSR1);
    raise(SIGXFSZ);
    assert_int_equal(signals_interrupted(), 0);
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++)
        assert_false(is_blocked(left_alone[i]));
}

/* nohup */
static void test_ignored_hangups_stay_ignored(void **state)
{
    (void)state;
    sigset_t before, all;
    sigfillset(&all);
    signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &all, &before);
    signals_block();
    assert_true(is_blocked(SIGTERM));
    raise(SIGHUP);
    assert_int_equal(signals_interrupted(), 0);
    signal(SIGHUP, SIG_DFL);
}

static int set_up(void **state)
{
    (void)state;
    static const char *const words[] = {"the",  "quick", "brown", "fox",  "jumps", "over",
                                        "lazy", "dogs",  "while", "mild", "vixen", "zigzag"};
    struct err err = ERR_INIT;
    char path[128];
    storm[STORM - 1] = SIGRTMIN;
    strcpy(root, "/tmp/gpu_signals.XXXXXX");
    n_handled =
        mmap(NULL, sizeof *n_handled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n_handled == MAP_FAILED || !mkdtemp(root) || hash_init(&err) != 0)
        return -1;
    path_of("words.txt", path);
    FILE *text = fopen(path, "we");
    for (unsigned i = 0; text && i < TEXT_WORDS; i++)
        fprintf(text, "%s%s", words[i * i / 7 % 12], i % 9 ? " " : ".\n");
    return text && fclose(text) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* The tests that block signals come last: a forked trainer would inherit the mask. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_ignored_hangups_stay_ignored),
        cmocka_unit_test(test_interrupts_are_polled),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
