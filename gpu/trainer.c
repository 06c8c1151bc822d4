/* trainer: main of tokenfate-trainer, the compute process. With --serve it is the server's child
 * (trainer_loop.h); without it, it runs the spec on its standard input and prints the messages
 * (standalone.h). Exit status: 0, 1 failed, 2 usage. */
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/core_list.h"
#include "config/hash.h"
#include "config/log.h"
#include "config/options.h"
#include "config/settings.h"
#include "gpu/qualify.h"
#include "gpu/standalone.h"
#include "gpu/trainer_loop.h"
#include "gpu/watch.h"

enum { EXIT_USAGE = 2, THREADS_LIMIT = 4096 /* more than any machine has */ };

struct arguments {
    int serve, watch, devices, version, resume, qualify;
    int64_t parent, threads, checkpoint_seconds, seconds;
    const char *device, *share, *corpus_path, *dir, *only, *cores;
    char precision[8];
};

#define AT(member) offsetof(struct arguments, member), 0, 0
static const struct options_row rows[] = {
    {"share", OPTIONS_POINTER, AT(share), 0, NULL, "TOKENFATE_SHARE; beside the program",
     "folder with tokenizers/"},
    {"corpus_path", OPTIONS_POINTER, AT(corpus_path), 0, NULL, "TOKENFATE_CORPUS_PATH; corpora",
     "folders with texts, separated by ':'"},
    {"dir", OPTIONS_POINTER, AT(dir), 0, NULL, "none", "folder for checkpoints and models"},
    {"resume", OPTIONS_FLAG, AT(resume), 0, NULL, NULL, "continue from the checkpoint in --dir"},
    {"checkpoint_seconds", OPTIONS_INTEGER, AT(checkpoint_seconds), INT32_MAX, NULL, "30",
     "time between checkpoints"},
    {"threads", OPTIONS_INTEGER, AT(threads), THREADS_LIMIT, NULL, "0", "compute threads; 0: all"},
    {"cores", OPTIONS_POINTER, AT(cores), 0, NULL, "all", "cores to compute on, as 0-3,7"},
    {"device", OPTIONS_POINTER, AT(device), 0, NULL, "cpu", "cpu or cuda:N"},
    {"devices", OPTIONS_FLAG, AT(devices), 0, NULL, NULL,
     "print what this machine can compute on and end"},
    {"qualify", OPTIONS_FLAG, AT(qualify), 0, NULL, NULL,
     "compare --device with the reference, print a line a check and the verdict, and end"},
    {"precision", OPTIONS_TEXT, offsetof(struct arguments, precision),
     sizeof((struct arguments *)0)->precision, 0, 0, "auto fp32 bf16", "auto",
     "--qualify: in fp32 or bf16; auto: both"},
    {"only", OPTIONS_POINTER, AT(only), 0, NULL, "all", "--qualify: checks with this in the name"},
    {"seconds", OPTIONS_INTEGER, AT(seconds), 86400, NULL, "120",
     "--qualify: time limit of a precision"},
    {"serve", OPTIONS_FLAG, AT(serve), 0, NULL, NULL,
     "be the child of a server, on file descriptor 3"},
    {"watch", OPTIONS_FLAG, AT(watch), 0, NULL, NULL,
     "the same, but only tell how the GPUs are doing"},
    {"parent", OPTIONS_INTEGER, AT(parent), INT32_MAX, NULL, NULL, "process id of that server"},
    {"version", OPTIONS_FLAG, AT(version), 0, NULL, NULL, "print the build and end"},
};
#undef AT

static struct options options_of(struct arguments *arguments)
{
    return (struct options){rows, sizeof rows / sizeof *rows, arguments};
}

static void print_help(FILE *out)
{
    const struct options options = options_of(NULL);
    fputs("usage: tokenfate-trainer [options] < spec.json\n", out);
    options_help(&options, out);
}

static int parse_arguments(int argc, char **argv, struct arguments *out, struct err *err)
{
    const struct options options = options_of(out);
    int n_words = 0;
    if (options_parse(&options, 1, argc - 1, argv + 1, &n_words, err))
        return -1;
    return n_words == 0 ? 0 : err_set(err, ERR_INVALID, "unknown argument %s", argv[1]);
}

/* TOKENFATE_SHARE, else share/ beside the program (build tree), else
 * ../share/tokenfate (installed). */
static const char *find_share(char path[PATH_MAX])
{
    static const char *const places[] = {"share", "../share/tokenfate"};
    const char *named = getenv("TOKENFATE_SHARE");
    if (named && named[0])
        return named;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (settings_beside(places[i], path, PATH_MAX, NULL) == 0 && access(path, R_OK) == 0)
            return path;
    return "share";
}

static int is_set(const char *const *names, int n)
{
    int set = 0;
    for (int i = 0; i < n; i++)
        set = set || getenv(names[i]);
    return set;
}

/* Before the threads are arranged: a thread for each of these cores takes them all. When the program
 * has executed itself again, its first thread is bound to one of them already, and stays there. A
 * core that is gone changes no bits, so a refusal is only logged. */
static int take_cores(const struct arguments *arguments, struct err *err)
{
    cpu_set_t set, present, both;
    if (!arguments->cores)
        return 0;
    if (core_list_parse(arguments->cores, &set) != 0)
        return err_set(err, ERR_INVALID, "--cores: %.100s is no list of cores", arguments->cores);
    if (sched_getaffinity(0, sizeof present, &present) == 0) {
        CPU_AND(&both, &set, &present);
        if (CPU_EQUAL(&both, &present))
            return 0;
    }
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        log_line(LOG_WARNING, "cannot compute on cores %s only", arguments->cores);
    return 0;
}

static int takes_all_cores(const struct arguments *arguments)
{
    cpu_set_t cores;
    return strcmp(arguments->device, "cpu") == 0 &&
           (arguments->threads == 0 || (sched_getaffinity(0, sizeof cores, &cores) == 0 &&
                                        arguments->threads == CPU_COUNT(&cores)));
}

#define SPINS "20000"

/* Environment of libgomp. By default its threads spin without end between two parallel regions;
 * beside other programs on the same cores that costs several times the work itself. Threads that
 * sleep at once must be woken some hundred times a step, which costs a sixth of it. So they spin
 * for a few tenths of a millisecond (SPINS): longer than threads with equal work wait for each
 * other, shorter than a scheduler's time slice. On a busy system Linux may also migrate two threads
 * onto one core, and all others wait for these two: with a thread for every core, each is bound to
 * its own. With fewer threads binding would take the first cores, in every trainer, so they stay
 * unbound. libgomp reads its environment when it is loaded, so the program executes itself again; a
 * refusal loses nothing. Signals are blocked later (signals.h), so the mask that the new image keeps
 * is the caller's. Variables that the user has set are respected. */
static void arrange_threads(const struct arguments *arguments, char **argv)
{
    static const char *const waiting[] = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"};
    static const char *const places[] = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"};
    const int spins = !is_set(waiting, sizeof waiting / sizeof *waiting);
    const int moves = !is_set(places, sizeof places / sizeof *places) && takes_all_cores(arguments);
    if ((spins && setenv("GOMP_SPINCOUNT", SPINS, 0) != 0) ||
        (moves && setenv("OMP_PROC_BIND", "true", 0) != 0))
        return;
    if (spins || moves)
        execv("/proc/self/exe", argv);
}

/* A server that asks for it names itself: the check shall not outlive it. */
static int prove(const struct arguments *arguments, struct err *err)
{
    const struct qualify_options options = {
        .device = arguments->device,
        .build = TOKENFATE_BUILD,
        .precision = strcmp(arguments->precision, "fp32") == 0   ? PRECISION_FP32
                     : strcmp(arguments->precision, "bf16") == 0 ? PRECISION_BF16
                                                                 : PRECISION_AUTO,
        .only = arguments->only,
        .seconds = (int)arguments->seconds};
    if (arguments->parent && trainer_loop_bind((int)arguments->parent, err) != 0)
        return -1;
    return qualify(&options, stdout, err);
}

static int run(const struct arguments *arguments, struct err *err)
{
    char share[PATH_MAX];
    const struct runner_setup setup = {.share =
                                           arguments->share ? arguments->share : find_share(share),
                                       .device = arguments->device,
                                       .build = TOKENFATE_BUILD,
                                       .threads = (int)arguments->threads};
    if (hash_init(err) != 0)
        return -1;
    if (arguments->watch)
        return trainer_loop_bind((int)arguments->parent, err) != 0
                   ? -1
                   : watch(TOKENFATE_BUILD, TRAINER_LOOP_FD, err);
    if (arguments->qualify)
        return prove(arguments, err);
    if (arguments->devices)
        return standalone_devices(&setup, stdout, err);
    if (arguments->serve)
        return trainer_loop_bind((int)arguments->parent, err) != 0
                   ? -1
                   : trainer_loop(&setup, TRAINER_LOOP_FD, err);
    const struct standalone_options standalone_options = {.corpus_path = arguments->corpus_path,
                                                          .dir = arguments->dir,
                                                          .resume = arguments->resume,
                                                          .checkpoint_seconds =
                                                              arguments->checkpoint_seconds};
    return standalone(&setup, &standalone_options, stdin, stdout, err);
}

int main(int argc, char **argv)
{
    const char *corpus_path = getenv("TOKENFATE_CORPUS_PATH");
    const char *log_format = getenv("TOKENFATE_LOG_FORMAT"); /* the server's, checked there */
    struct arguments arguments = {.device = "cpu",
                                  .corpus_path = corpus_path ? corpus_path : "corpora",
                                  .dir = "",
                                  .only = "",
                                  .precision = "auto",
                                  .seconds = 120,
                                  .checkpoint_seconds = 30};
    const struct options options = options_of(NULL);
    struct err err = ERR_INIT;
    if (options_ask_help(&options, 1, argc - 1, argv + 1)) {
        print_help(stdout);
        return EXIT_SUCCESS;
    }
    log_set_format(log_format && strcmp(log_format, "json") == 0 ? LOG_JSON : LOG_TEXT);
    if (parse_arguments(argc, argv, &arguments, &err) != 0 || take_cores(&arguments, &err) != 0) {
        fprintf(stderr, "tokenfate-trainer: %s\n", err.message);
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (arguments.version) {
        puts(TOKENFATE_BUILD);
        return EXIT_SUCCESS;
    }
    arrange_threads(&arguments, argv);
    if (run(&arguments, &err) == 0)
        return EXIT_SUCCESS;
    log_line(LOG_ERROR, "trainer: %s", err.message);
    return EXIT_FAILURE;
}
