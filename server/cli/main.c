/* main: the program `tokenfate`. It finds the command in one table, reads the settings, and
 * runs the command on the main thread. Exit codes: 0, 1 failed, 2 usage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/log.h"
#include "config/options.h"
#include "config/settings.h"
#include "server/cli/backup.h"
#include "server/cli/commands.h"
#include "server/cli/devices.h"
#include "server/cli/jobs.h"
#include "server/cli/login.h"
#include "server/cli/retention.h"
#include "server/cli/run.h"
#include "server/cli/show.h"
#include "server/cli/watch.h"
#include "server/serve.h"

static int main_serve(const struct settings *settings, int argc, char **argv)
{
    if (argc) {
        fprintf(stderr, "tokenfate serve: \"%s\" is not an option\n", argv[0]);
        return 2;
    }
    return serve_command(settings, TOKENFATE_BUILD);
}

static int main_version(const struct settings *settings, int argc, char **argv)
{
    (void)settings, (void)argc, (void)argv;
    printf("tokenfate %s\n", TOKENFATE_BUILD);
    return 0;
}

static int main_help(const struct settings *settings, int argc, char **argv);

/* Whose options a command takes beside its words: those of the settings alone; its own too,
 * which it finds among its words; or it reads both itself. */
static const struct {
    const char *name;
    int (*run)(const struct settings *settings, int argc, char **argv);
    enum { OPTIONS_OF_SETTINGS, OPTIONS_OF_BOTH, OPTIONS_OF_COMMAND } options;
    const char *usage, *help;
} main_commands[] = {
    {"serve", main_serve, OPTIONS_OF_SETTINGS, "serve", "run the service"},
    {"run", run_command, OPTIONS_OF_COMMAND, "run SPEC.json [--json] [--out DIR]",
     "one experiment without a server, with a progress bar and a table"},
    {"submit", jobs_submit, OPTIONS_OF_BOTH, JOBS_SUBMIT, "store a job; prints its id"},
    {"queue", jobs_queue, OPTIONS_OF_BOTH, JOBS_QUEUE,
     "what runs and what waits, and why; for administrators: start no job, stop all, go on"},
    {"jobs", jobs_list, OPTIONS_OF_BOTH, JOBS_LIST, "the newest jobs"},
    {"watch", watch_command, OPTIONS_OF_BOTH, WATCH_USAGE, "a job's progress, until it ends"},
    {"log", jobs_log, OPTIONS_OF_BOTH, JOBS_LOG, "the log of a job's trainer"},
    {"cancel", jobs_cancel, OPTIONS_OF_BOTH, JOBS_CANCEL, "end jobs"},
    {"hold", jobs_hold, OPTIONS_OF_BOTH, JOBS_HOLD, "stop jobs with a checkpoint"},
    {"release", jobs_release, OPTIONS_OF_BOTH, JOBS_RELEASE, "let held jobs go on"},
    {"retry", jobs_retry, OPTIONS_OF_BOTH, JOBS_RETRY, "let failed or cancelled jobs go on"},
    {"get", jobs_get, OPTIONS_OF_BOTH, JOBS_GET, "records as CSV, or a model"},
    {"show", show_command, OPTIONS_OF_SETTINGS, "show JOB_ID", "the closing table of a job"},
    {"devices", devices_command, OPTIONS_OF_SETTINGS, "devices",
     "the devices of the running service, and how each GPU was proved"},
    {"retention", retention_command, OPTIONS_OF_SETTINGS, "retention",
     "what of the jobs is to go, and when (settings keep_..._days, keep_bytes)"},
    {"login", login_command, OPTIONS_OF_BOTH, LOGIN_USAGE,
     "become a user of the service: by your account on its machine, or with a token"},
    {"logout", logout_command, OPTIONS_OF_BOTH, LOGOUT_USAGE, "end that token and forget it"},
    {"user", commands_user, OPTIONS_OF_BOTH, COMMANDS_USER,
     "people who may log in, and which account of this machine each is"},
    {"token", commands_token, OPTIONS_OF_BOTH, COMMANDS_TOKEN, "their bearer tokens"},
    {"backup", backup_command, OPTIONS_OF_SETTINGS, "backup DIR",
     "copy database, texts and models, also beside a running server"},
    {"restore", restore_command, OPTIONS_OF_SETTINGS, "restore DIR",
     "put a backup into an empty data folder"},
    {"compact", commands_compact, OPTIONS_OF_SETTINGS, "compact",
     "give the database's free space back, while no server runs"},
    {"version", main_version, OPTIONS_OF_SETTINGS, "version", "print the version"},
    {"help", main_help, OPTIONS_OF_SETTINGS, "help [COMMAND]",
     "print this, or one command's words"},
};

enum { MAIN_COMMANDS = sizeof main_commands / sizeof main_commands[0] };

static int main_find(const char *name)
{
    for (int i = 0; i < MAIN_COMMANDS; i++)
        if (strcmp(main_commands[i].name, name) == 0)
            return i;
    return -1;
}

static int main_unknown(const char *name)
{
    fprintf(stderr, "tokenfate: \"%s\" is not a command; see tokenfate help\n", name);
    return 2;
}

static void main_help_options(void)
{
    printf("\noptions of every command (also TOKENFATE_KEY in the environment, and keys of the "
           "file that --config names):\n");
    settings_help(stdout);
}

static int main_help_command(int command)
{
    printf("usage: tokenfate %s\n%s\n", main_commands[command].usage, main_commands[command].help);
    main_help_options();
    return 0;
}

static int main_help(const struct settings *settings, int argc, char **argv)
{
    (void)settings;
    const int command = argc ? main_find(argv[0]) : -1;
    if (argc)
        return command < 0 ? main_unknown(argv[0]) : main_help_command(command);
    printf("tokenfate: what happens to rare and unseen tokens while a language model learns\n\n");
    for (int i = 0; i < MAIN_COMMANDS; i++)
        printf("  tokenfate %-60s %s\n", main_commands[i].usage, main_commands[i].help);
    printf("\nfrom submit to get, and login: also --url ADDRESS and --json\n");
    main_help_options();
    return 0;
}

/* Apply the settings' options among the words of a command and close the gaps. Another word
 * that looks like an option is one of the command's, or ERR_INVALID. */
static int main_options(int command, struct settings *settings, int *argc, char **argv,
                        struct err *err)
{
    int kept = 0;
    const struct options table = settings_options(settings);
    if (main_commands[command].options == OPTIONS_OF_COMMAND)
        return 0;
    if (main_commands[command].options == OPTIONS_OF_SETTINGS)
        return options_parse(&table, 1, *argc, argv, argc, err);
    for (int at = 0; at < *argc;) {
        int taken = options_take(&table, 1, *argc, argv, &at, err);
        if (taken < 0)
            return -1;
        if (!taken)
            argv[kept++] = argv[at++];
    }
    *argc = kept;
    return 0;
}

static int main_run(int command, int argc, char **argv)
{
    struct settings settings;
    struct err err = ERR_INIT;
    int used = 1;
    if (settings_load(&settings, settings_config(argc, argv), argc, argv, &used, &err)) {
        fprintf(stderr, "tokenfate: %s\n", err.message);
        return 2;
    }
    int rest = argc - used;
    if (main_options(command, &settings, &rest, argv + used, &err)) {
        fprintf(stderr, "tokenfate: %s\n", err.message);
        return 2;
    }
    log_set_level((enum log_level)log_level_from_name(settings.log_level));
    log_set_format((enum log_format)log_format_from_name(settings.log_format));
    /* Trainers inherit them; the only thread sets them. */
    setenv("TOKENFATE_LOG_FORMAT", settings.log_format, 1);
    setenv("TOKENFATE_CUBLASLT", settings.cublaslt, 1);
    return main_commands[command].run(&settings, rest, argv + used);
}

int main(int argc, char **argv)
{
    char *alone[] = {argv[0], NULL};
    const struct options table = settings_options(NULL);
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const int command = main_find(name);
    if (command < 0)
        return main_unknown(name);
    if (argc > 2 && options_ask_help(&table, 1, argc - 2, argv + 2))
        return main_help_command(command);
    return argc > 1 ? main_run(command, argc - 1, argv + 1) : main_run(command, 1, alone);
}
