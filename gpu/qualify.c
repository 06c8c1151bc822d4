/* qualify: see qualify.h. The parent loads no driver and has no thread, so that it may fork; a child
 * tells each result through a pipe as one struct, which is shorter than PIPE_BUF and so arrives
 * whole. A child's status says nothing: what counts is which results came. */
#include "gpu/qualify.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/emit.h"
#include "gpu/qualify_checks.h"

/* From a child: first that the device is open, then a result for each check. */
struct report {
    int check; /* number; OPENED */
    int is_others;
    char isa[BACKEND_ISA_MAX];
    char notice[BACKEND_NOTICE_MAX]; /* the backend's, "" = none */
    struct qualify_result result;
};
_Static_assert(sizeof(struct report) <= PIPE_BUF, "a report arrives whole");

enum { OPENED = -1, ALL = -1, CHECKS_MAX = 256 };

enum verdict { PASSED, FAILED, COULD_NOT_TRY };
static const char *const verdicts[] = {"passed", "failed", "could_not_try"};

enum ending { FINISHED, DIED, RAN_OUT };

/* One precision. */
struct trial {
    const struct qualify_options *options;
    FILE *out;
    enum spec_precision precision;
    int is_done[CHECKS_MAX]; /* by check number: its result was told */
    int checks, is_others;
    char isa[BACKEND_ISA_MAX], notice[BACKEND_NOTICE_MAX];
    struct qualify_result worst; /* nearest to its bound, if bound > 0 */
    enum verdict verdict;
    char reason[QUALIFY_REASON_MAX + QUALIFY_NAME_MAX + 2];
};

static const char *precision_name(enum spec_precision precision)
{
    return precision == PRECISION_BF16 ? "bf16" : "fp32";
}

/* ---- the child ---- */

static int is_wanted(const struct trial *trial, int check)
{
    char name[QUALIFY_NAME_MAX];
    return strstr(qualify_checks_name(check, name), trial->options->only) != NULL;
}

static void tell(int fd, const struct report *report)
{
    ssize_t written = write(fd, report, sizeof *report);
    (void)written; /* a parent that is gone needs no report */
}

/* Run the checks that are not done (ALL) or one of them. After a fault nothing of a device can be
 * trusted in this process. */
static void run_checks(const struct trial *trial, int only, int fd)
{
    struct qualify_subject *subject;
    struct report report = {.check = OPENED};
    struct err err = ERR_INIT;
    char name[QUALIFY_NAME_MAX];
    const int is_whole = only == ALL && !trial->options->only[0];
    if (qualify_checks_open(trial->options->device, trial->precision, trial->options->build,
                            is_whole, &subject, &err) != 0) {
        snprintf(report.result.name, sizeof report.result.name, "open");
        snprintf(report.result.reason, sizeof report.result.reason, "%.255s", err.message);
        report.result.code = err.code;
        tell(fd, &report);
        return;
    }
    report.is_others = qualify_checks_others(subject);
    snprintf(report.isa, sizeof report.isa, "%s", qualify_checks_isa(subject));
    tell(fd, &report);
    for (int i = 0; qualify_checks_name(i, name); i++) {
        if (trial->is_done[i] || !is_wanted(trial, i) || (only != ALL && only != i))
            continue;
        report.check = i;
        qualify_checks_run(subject, i, &report.result);
        snprintf(report.notice, sizeof report.notice, "%s", qualify_checks_notice(subject));
        tell(fd, &report);
        if (report.result.code == ERR_DEVICE)
            return;
    }
    qualify_checks_close(subject);
}

/* Child's pid and *fd, from which its reports come; -1. */
static pid_t start(const struct trial *trial, int only, int *fd, struct err *err)
{
    int ends[2];
    const pid_t parent = getpid();
    if (pipe(ends) != 0) {
        err_set_errno(err, ERR_UNAVAILABLE, "no pipe for a check");
        return -1;
    }
    fflush(trial->out);
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
            run_checks(trial, only, ends[1]);
        _exit(127); /* the reports tell how it went */
    }
    close(ends[1]);
    *fd = ends[0];
    if (pid < 0) {
        err_set_errno(err, ERR_UNAVAILABLE, "no process for a check");
        close(ends[0]);
    }
    return pid;
}

/* ---- what it tells ---- */

static void print_number_or_null(struct emit *emit, const char *key, double value, int is_known)
{
    if (is_known)
        emit_number(emit, key, value);
    else
        emit_null(emit, key);
}

static void print_result(const struct trial *trial, const struct qualify_result *r)
{
    struct emit emit;
    emit_open(&emit, trial->out, EMIT_COMPACT);
    emit_object(&emit, NULL);
    emit_text(&emit, "type", "check");
    emit_text(&emit, "precision", precision_name(trial->precision));
    emit_text(&emit, "name", r->name);
    emit_bool(&emit, "holds", r->code == ERR_NONE);
    emit_integer(&emit, "ms", r->ms);
    print_number_or_null(&emit, "error", r->error, r->bound > 0);
    print_number_or_null(&emit, "bound", r->bound, r->bound > 0);
    print_number_or_null(&emit, "margin", r->error > 0 ? r->bound / r->error : 0,
                         r->bound > 0 && r->error > 0);
    emit_text(&emit, "where", r->bound > 0 ? r->where : NULL);
    emit_text(&emit, "note", r->note[0] ? r->note : NULL);
    emit_text(&emit, "code", r->code == ERR_NONE ? NULL : err_name(r->code));
    emit_text(&emit, "reason", r->code == ERR_NONE ? NULL : r->reason);
    emit_end(&emit);
    fputc('\n', trial->out);
    fflush(trial->out);
}

/* The first reason stays, but a failure counts more than a check that could not be tried. */
static void judge(struct trial *trial, enum verdict verdict, const char *name, const char *reason)
{
    if (trial->verdict == FAILED || (trial->verdict == COULD_NOT_TRY && verdict != FAILED))
        return;
    trial->verdict = verdict;
    snprintf(trial->reason, sizeof trial->reason, "%.*s: %.*s", QUALIFY_NAME_MAX, name,
             QUALIFY_REASON_MAX - 1, reason);
}

/* Without room on the card, or with another program that has it alone, nothing was tried. */
static int is_no_try(enum err_code code)
{
    return code == ERR_NO_MEMORY || code == ERR_UNAVAILABLE;
}

static void take(struct trial *trial, const struct report *report)
{
    const struct qualify_result *r = &report->result;
    trial->is_others |= report->is_others;
    if (report->check == OPENED && r->code == ERR_NONE) {
        memcpy(trial->isa, report->isa, sizeof trial->isa);
        return;
    }
    if (report->notice[0])
        memcpy(trial->notice, report->notice, sizeof trial->notice);
    if (report->check != OPENED) {
        trial->is_done[report->check] = 1;
        trial->checks++;
    }
    if (r->bound > 0 && (trial->worst.bound <= 0 ||
                         !(r->error * trial->worst.bound <= trial->worst.error * r->bound)))
        trial->worst = *r;
    print_result(trial, r);
    if (r->code != ERR_NONE)
        judge(trial, is_no_try(r->code) ? COULD_NOT_TRY : FAILED, r->name, r->reason);
}

/* 1: a report was taken; 0: no more will come; -1: the time is over. */
static int listen_until(struct trial *trial, int fd, int64_t deadline)
{
    struct report report;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0)
            return -1;
        if (poll(&wait, 1, (int)left) < 0 && errno != EINTR)
            return -1;
        if (!wait.revents)
            continue;
        const ssize_t n = read(fd, &report, sizeof report);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (ssize_t)sizeof report)
            return 0;
        take(trial, &report);
        return 1;
    }
}

static void describe_death(int status, char how[64])
{
    if (WIFSIGNALED(status))
        snprintf(how, 64, "the process was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(how, 64, "the process ended");
}

/* Run a child to its end. how: of its death. */
static enum ending run_child(struct trial *trial, int only, char how[64], int *signal_number,
                             struct err *err)
{
    int fd, status = 0;
    const pid_t pid = start(trial, only, &fd, err);
    if (pid < 0)
        return DIED;
    const int64_t deadline = clock_monotonic_ms() + (int64_t)trial->options->seconds * 1000;
    int more = 1;
    while (more > 0)
        more = listen_until(trial, fd, deadline);
    if (more < 0)
        kill(pid, SIGKILL);
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    describe_death(status, how);
    *signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return more < 0 ? RAN_OUT : *signal_number ? DIED : FINISHED;
}

/* ---- a trial ---- */

/* The first check that is wanted and has not been told of, or -1. */
static int first_left(const struct trial *trial)
{
    char name[QUALIFY_NAME_MAX];
    for (int i = 0; i < CHECKS_MAX && qualify_checks_name(i, name); i++)
        if (!trial->is_done[i] && is_wanted(trial, i))
            return i;
    return -1;
}

static void blame(struct trial *trial, int check, enum verdict verdict, enum err_code code,
                  const char *how)
{
    struct qualify_result result = {.code = code};
    qualify_checks_name(check, result.name);
    snprintf(result.reason, sizeof result.reason, "%s", how);
    trial->is_done[check] = 1;
    trial->checks++;
    print_result(trial, &result);
    judge(trial, verdict, result.name, result.reason);
}

/* The checks that are left, each alone, until one dies, hangs or does not hold. */
static void run_alone(struct trial *trial, enum ending together, const char *first_how,
                      struct err *err)
{
    char how[64], name[QUALIFY_NAME_MAX];
    int signal_number, left;
    const int first = first_left(trial);
    while (trial->verdict == PASSED && (left = first_left(trial)) >= 0) {
        const enum ending ending = run_child(trial, left, how, &signal_number, err);
        if (trial->is_done[left] || trial->verdict != PASSED)
            continue;
        if (ending == RAN_OUT)
            snprintf(how, sizeof how, "no result within %d s", trial->options->seconds);
        blame(trial, left, signal_number == SIGKILL && ending == DIED ? COULD_NOT_TRY : FAILED,
              ending == RAN_OUT ? ERR_TIMEOUT : ERR_DEVICE, how);
    }
    if (trial->verdict == PASSED && together == DIED)
        judge(trial, FAILED, qualify_checks_name(first, name), first_how);
    else if (trial->verdict == PASSED)
        judge(trial, COULD_NOT_TRY, qualify_checks_name(first, name),
              "the time ran out; each check alone holds");
}

static void run_trial(struct trial *trial, struct err *err)
{
    char how[64], name[QUALIFY_NAME_MAX];
    int signal_number = 0;
    const enum ending ending = run_child(trial, ALL, how, &signal_number, err);
    const int left = first_left(trial);
    if (left < 0 || trial->verdict != PASSED)
        return;
    qualify_checks_name(left, name);
    if (ending == RAN_OUT && trial->is_others)
        judge(trial, COULD_NOT_TRY, name, "the time ran out while other programs used the card");
    else if (ending == DIED && signal_number == SIGKILL)
        judge(trial, COULD_NOT_TRY, name, "the process was killed from outside (signal 9)");
    else
        run_alone(trial, ending, how, err);
}

/* A device that records nothing is slower, but computes the same. */
static void print_reason(struct emit *emit, const struct trial *trial)
{
    char without[BACKEND_NOTICE_MAX + 32];
    snprintf(without, sizeof without, "without graphs: %s", trial->notice);
    emit_text(emit, "reason",
              trial->verdict != PASSED ? trial->reason
              : trial->notice[0]       ? without
                                       : NULL);
}

static void print_verdict(const struct trial *trial, int64_t ms)
{
    const struct qualify_result *worst = &trial->worst;
    struct emit emit;
    emit_open(&emit, trial->out, EMIT_COMPACT);
    emit_object(&emit, NULL);
    emit_text(&emit, "type", "verdict");
    emit_text(&emit, "device", trial->options->device);
    emit_text(&emit, "precision", precision_name(trial->precision));
    emit_text(&emit, "state", verdicts[trial->verdict]);
    emit_integer(&emit, "checks", trial->checks);
    emit_integer(&emit, "ms", ms);
    emit_text(&emit, "build", trial->options->build);
    emit_text(&emit, "isa", trial->isa[0] ? trial->isa : NULL);
    emit_text(&emit, "worst", worst->bound > 0 ? worst->name : NULL);
    print_number_or_null(&emit, "error", worst->error, worst->bound > 0);
    print_number_or_null(&emit, "bound", worst->bound, worst->bound > 0);
    print_reason(&emit, trial);
    emit_end(&emit);
    fputc('\n', trial->out);
    fflush(trial->out);
}

int qualify(const struct qualify_options *options, FILE *out, struct err *err)
{
    static const enum spec_precision precisions[] = {PRECISION_FP32, PRECISION_BF16};
    int result = 0;
    for (int p = 0; p < 2; p++) {
        struct trial trial = {.options = options, .out = out, .precision = precisions[p]};
        const int64_t began = clock_monotonic_ms();
        if (options->precision != PRECISION_AUTO && options->precision != precisions[p])
            continue;
        run_trial(&trial, err);
        if (trial.verdict == PASSED && trial.checks == 0)
            judge(&trial, COULD_NOT_TRY, "no check", err->code ? err->message : "none was run");
        print_verdict(&trial, clock_monotonic_ms() - began);
        if (trial.verdict != PASSED && result == 0)
            result = err_set(err, ERR_DEVICE, "device %s, %s: %s: %.*s", options->device,
                             precision_name(trial.precision), verdicts[trial.verdict],
                             QUALIFY_REASON_MAX, trial.reason);
    }
    return result;
}
