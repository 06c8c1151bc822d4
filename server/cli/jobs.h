/* jobs: the commands about jobs of a running service, for people without a browser: submit, queue,
 * jobs, log, cancel, hold, release, retry, get. Each is one request, or one for each id. main.c calls
 * them on the main thread; they return the exit codes of remote.h. */
#ifndef TOKENFATE_CLI_JOBS_H
#define TOKENFATE_CLI_JOBS_H

#include "config/settings.h"

#define JOBS_SUBMIT "submit FILE|-|--preset NAME [--set a.b=VALUE ...]"
#define JOBS_QUEUE "queue [drain | pause | resume]"
#define JOBS_LIST "jobs [--state S] [--user U] [--tag T] [--sweep ID] [--q WORDS] [--limit N]"
#define JOBS_LOG "log ID"
#define JOBS_CANCEL "cancel ID ..."
#define JOBS_HOLD "hold ID ..."
#define JOBS_RELEASE "release ID ..."
#define JOBS_RETRY "retry ID ... [--from checkpoint|start]"
#define JOBS_GET "get ID epochs|model [--epoch N] [--out FILE]"

int jobs_submit(const struct settings *settings, int argc, char **argv);
int jobs_queue(const struct settings *settings, int argc, char **argv);
int jobs_list(const struct settings *settings, int argc, char **argv);
int jobs_log(const struct settings *settings, int argc, char **argv);
int jobs_cancel(const struct settings *settings, int argc, char **argv);
int jobs_hold(const struct settings *settings, int argc, char **argv);
int jobs_release(const struct settings *settings, int argc, char **argv);
int jobs_retry(const struct settings *settings, int argc, char **argv);
int jobs_get(const struct settings *settings, int argc, char **argv);

#endif
