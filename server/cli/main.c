/* main of tokenfate: reads the settings, looks the command up in one table, runs
 * it. Exit codes: 0, 1 failed, 2 usage. */
#include <stdio.h>
#include <string.h>

#include "config/log.h"
#include "config/settings.h"
#include "server/cli/commands.h"
#include "server/cli/run.h"
#include "server/cli/show.h"
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

static const struct {
    const char *name;
    int (*run)(const struct settings *settings, int argc, char **argv);
    int plain; /* has no options but those of the settings, which may follow its words */
    const char *usage, *help;
} main_commands[] = {
    {"serve", main_serve, 1, "serve", "run the service"},
    {"run", run_command, 0, "run SPEC.json [--json] [--out DIR]",
     "one experiment without a server, with a progress bar and a table"},
    {"show", show_command, 1, "show JOB_ID", "the closing table of a job"},
    {"user", commands_user, 1, "user add NAME [--admin] | list | disable NAME | enable NAME",
     "people who may log in"},
    {"token", commands_token, 1, "token issue USER [LABEL] | list [USER] | revoke TOKEN|ID",
     "their bearer tokens"},
    {"backup", commands_backup, 1, "backup FILE",
     "copy the database, also beside a running server"},
    {"version", main_version, 1, "version", "print the version"},
    {"help", main_help, 1, "help", "print this"},
};

enum { MAIN_COMMANDS = sizeof main_commands / sizeof main_commands[0] };

static int main_help(const struct settings *settings, int argc, char **argv)
{
    (void)settings, (void)argc, (void)argv;
    printf("tokenfate: what happens to rare and unseen tokens while a language model learns\n\n");
    for (int i = 0; i < MAIN_COMMANDS; i++)
        printf("  tokenfate %-60s %s\n", main_commands[i].usage, main_commands[i].help);
    printf("\noptions of every command (also TOKENFATE_KEY in the environment, and keys of the "
           "file that --config names):\n");
    settings_help(stdout);
    return 0;
}

/* Apply the settings' options among the words and close the gaps. -1 with *err. */
static int main_options(struct settings *settings, int *argc, char **argv, struct err *err)
{
    int kept = 0;
    for (int at = 0; at < *argc;) {
        int taken = settings_option(settings, *argc, argv, &at, err);
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
    if (main_commands[command].plain && main_options(&settings, &rest, argv + used, &err)) {
        fprintf(stderr, "tokenfate: %s\n", err.message);
        return 2;
    }
    log_set_level((enum log_level)log_level_from_name(settings.log_level));
    return main_commands[command].run(&settings, rest, argv + used);
}

int main(int argc, char **argv)
{
    char *alone[] = {argv[0], NULL};
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (int i = 0; i < MAIN_COMMANDS; i++)
        if (strcmp(main_commands[i].name, name) == 0)
            return argc > 1 ? main_run(i, argc - 1, argv + 1) : main_run(i, 1, alone);
    fprintf(stderr, "tokenfate: \"%s\" is not a command; see tokenfate help\n", name);
    return 2;
}
