/* watch: see watch.h. It asks for the job once a second, and waits between on a signalfd, so that no
 * signal handler is needed. A server that is away for a while (a restart) is waited for. */
#include "server/cli/watch.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/cli/progress.h"
#include "server/cli/remote.h"

enum {
    WATCH_PERIOD_MS = 1000,
    WATCH_AWAY_MAX = 60 /* periods without an answer before the watch is given up */
};

struct watch {
    struct remote remote;
    char id[REMOTE_ID_MAX], path[CLIENT_PATH_MAX];
    int signals, away;
    struct progress progress;
    char said[512]; /* state and reason that were told last */
};

static int watch_catch(struct watch *watch)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    watch->signals = signalfd(-1, &set, SFD_CLOEXEC);
    return watch->signals < 0 ? -1 : 0;
}

static int watch_interrupted(struct watch *watch)
{
    progress_end(&watch->progress);
    fprintf(stderr,
            "tokenfate: the job goes on; `tokenfate watch %s` watches it again, `tokenfate cancel "
            "%s` cancels it\n",
            watch->id, watch->id);
    return REMOTE_INTERRUPTED;
}

/* 1: a signal came. */
static int watch_sleep(const struct watch *watch)
{
    struct pollfd signals = {.fd = watch->signals, .events = POLLIN};
    return poll(&signals, 1, WATCH_PERIOD_MS) > 0;
}

static double watch_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void watch_progress(struct watch *watch, const json_t *job)
{
    const json_t *summary = json_object_get(job, "summary");
    struct progress_news news = {
        .epoch = json_integer_value(json_object_get(job, "epoch")),
        .epochs = json_integer_value(json_object_get(job, "epochs")),
        .loss = watch_number(summary, "loss"),
        .seconds_left = watch_number(job, "eta_seconds"),
        .tokens_per_second = watch_number(summary, "tokens_per_second"),
    };
    const char *name;
    json_t *group;
    json_object_foreach(json_object_get(summary, "groups"), name, group)
    {
        if (news.n_groups == PROGRESS_GROUPS)
            break;
        news.name[news.n_groups] = name;
        news.logp[news.n_groups++] = watch_number(group, "mean_logp");
    }
    if (json_is_object(summary))
        progress_show(&watch->progress, &news);
}

/* "held: its user ada is disabled", once for each change. */
static void watch_say(struct watch *watch, const json_t *job)
{
    char text[sizeof watch->said];
    const char *waits = remote_waits(job);
    snprintf(text, sizeof text, "%.20s%s%.400s", remote_text(job, "state"), waits[0] ? ": " : "",
             waits);
    if (strcmp(text, watch->said) == 0)
        return;
    progress_end(&watch->progress);
    fprintf(stderr, "%s\n", text);
    strcpy(watch->said, text);
}

/* The exit code of a job that has ended, -1 of one that has not. */
static int watch_end(const json_t *job)
{
    const char *state = remote_text(job, "state");
    const json_t *error = json_object_get(job, "error");
    if (strcmp(state, "succeeded") == 0)
        return REMOTE_OK;
    if (strcmp(state, "failed") != 0 && strcmp(state, "cancelled") != 0)
        return -1;
    if (json_is_object(error))
        fprintf(stderr, "tokenfate: %s\n", remote_text(error, "message"));
    return REMOTE_ENDED;
}

/* Look once. The exit code, or -1: go on. */
static int watch_look(struct watch *watch)
{
    const struct client_call call = {
        .method = "GET", .path = watch->path, .signals = watch->signals};
    struct err err = ERR_INIT;
    json_t *job = NULL;
    const int result = client_ask(&watch->remote.server, &call, &job, NULL, &err);
    if (result && err.code == ERR_CANCELLED)
        return watch_interrupted(watch);
    if (result > 0 && ++watch->away < WATCH_AWAY_MAX)
        return -1;
    if (result)
        return remote_fail(result, &err);
    watch->away = 0;
    const int is_final = json_is_string(json_object_get(job, "finished_at"));
    if (is_final) /* the last line stands above the end */
        watch_progress(watch, job);
    watch_say(watch, job);
    if (!is_final)
        watch_progress(watch, job);
    const int code = watch_end(job);
    if (code >= 0 && watch->remote.json)
        remote_print(json_incref(job));
    json_decref(job);
    return code;
}

int watch_command(const struct settings *settings, int argc, char **argv)
{
    static const struct remote_command command = {.usage = WATCH_USAGE, .least = 1, .most = 1};
    struct watch watch = {.progress = progress_begin()};
    struct err err = ERR_INIT;
    int n = 0;
    int code = remote_begin(&watch.remote, settings, &command, argc, argv, &n);
    if (!code)
        code = remote_job(&watch.remote, argv[0], watch.id);
    if (code)
        return code;
    if (watch_catch(&watch)) {
        err_set_errno(&err, ERR_IO, "cannot wait for signals");
        return remote_fail(-1, &err);
    }
    snprintf(watch.path, sizeof watch.path, "/jobs/%s", watch.id);
    while ((code = watch_look(&watch)) < 0)
        if (watch_sleep(&watch)) {
            code = watch_interrupted(&watch);
            break;
        }
    close(watch.signals);
    return code;
}
