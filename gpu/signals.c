/* signals: see signals.h. No state of its own: the kernel keeps mask and pending signals. */
#include "gpu/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};

static const int never_blocked[] = {
    SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS, SIGABRT, /* faults */
    SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT,                  /* terminal */
    SIGPIPE,
};

static const int ignorable[] = {SIGHUP, SIGXCPU};

static int is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* Linux keeps a blocked signal pending even if it is ignored; only an unblocked one is dropped. */
void signals_block(void)
{
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof never_blocked / sizeof *never_blocked; i++)
        sigdelset(&blocked, never_blocked[i]);
    for (size_t i = 0; i < sizeof ignorable / sizeof *ignorable; i++)
        if (is_ignored(ignorable[i]))
            sigdelset(&blocked, ignorable[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

int signals_interrupted(void)
{
    const struct timespec now = {0, 0};
    sigset_t wanted;
    sigemptyset(&wanted);
    for (size_t i = 0; i < sizeof interrupts / sizeof *interrupts; i++)
        sigaddset(&wanted, interrupts[i]);
    return sigtimedwait(&wanted, NULL, &now) > 0;
}
