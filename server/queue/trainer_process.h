/* trainer_process: one tokenfate-trainer as a child process: spawn, talk, end. Used by the
 * worker threads (slot.c, job_run.c), the device watch, the probe route and `tokenfate run`.
 * One thread per object.
 *
 * A process, because a CUDA fault makes its whole process unusable, and a crash must not take
 * the server with it (DESIGN section 2).
 *
 * Life: trainer_process_start spawns it and waits for `hello`, the devices and `ready`. Then
 * messages go both ways. trainer_process_end asks it to exit, kills it if it does not, and
 * reaps it. A trainer also dies with its server: it sets PR_SET_PDEATHSIG, which the kernel
 * delivers when the *thread* that spawned it ends. So that thread must live as long as the
 * child. */
#ifndef TOKENFATE_TRAINER_PROCESS_H
#define TOKENFATE_TRAINER_PROCESS_H

#include <sched.h>

#include "config/err.h"
#include "config/message.h"
#include "config/settings.h"

enum {
    TRAINER_DEVICES_MAX = 16,  /* devices of one machine */
    TRAINER_SEND_SECONDS = 10, /* send timeout of the socket */
    TRAINER_KILL_SECONDS = 10  /* from SIGKILL to the exit: longer means stuck in a driver */
};

struct trainer_device {
    char id[32];    /* "cpu", "cuda:0" */
    char kind[16];  /* "cpu", "cuda" */
    char name[128]; /* "AMD EPYC 9B14, avx512" */
    int64_t memory_bytes, free_bytes;
    int available;
    char reason[256]; /* if not available; else what it does without, or "" */
    /* state of a GPU; -1 and "": unknown */
    int utilisation, temperature; /* percent, degrees Celsius */
    char driver[64];              /* version */
    char identity[1024];          /* what a proof holds for; "" */
};

/* Compute threads of a trainer for the CPU, and the cores to which they are bound. */
struct trainer_team {
    int threads;     /* 0: as many as the setting `threads` says */
    cpu_set_t cores; /* as many, or none: Linux places the threads */
};

struct trainer_process;

/* Read a `device` message. */
void trainer_device_read(const struct message *message, struct trainer_device *out);

/* Spawn the trainer for a device ("cpu", "cuda:0"; NULL: a watcher, which computes nothing and
 * only reports the state of the GPUs) and wait for `hello` to `ready`. No whole message for a
 * minute (or heartbeat_seconds, if less) is ERR_TIMEOUT.
 *
 * The child's end of the socket pair is its descriptor 3. Its stdin is empty, its stdout and
 * stderr are this process's stderr. It has a process group of its own, so that Ctrl-C in a
 * terminal reaches only this process. It inherits descriptors that are not close-on-exec: the
 * lock of the data folder, so that no second server starts beside a trainer that is left.
 *
 * Program: settings->trainer, or tokenfate-trainer beside this one. Command line:
 * tokenfate-trainer --serve --parent PID --device ID --share DIR --threads N, or
 * --watch --parent PID.
 * ERR_UNAVAILABLE (cannot be started, or ended before it was ready), ERR_PROTOCOL,
 * ERR_TIMEOUT, ERR_NO_MEMORY. */
int trainer_process_start(const struct settings *settings, const char *device,
                          struct trainer_process **out, struct err *err);
/* The same with a team. */
int trainer_process_start_team(const struct settings *settings, const char *device,
                               const struct trainer_team *team, struct trainer_process **out,
                               struct err *err);

/* The *n devices that it reported before `ready`. Valid as long as the object. */
const struct trainer_device *trainer_process_devices(const struct trainer_process *process, int *n);
const char *trainer_process_build(const struct trainer_process *process);
int trainer_process_pid(const struct trainer_process *process);

/* Send a message. ERR_TIMEOUT if the trainer does not read for TRAINER_SEND_SECONDS; ERR_IO if
 * it is gone. */
int trainer_process_send(struct trainer_process *process, const struct message *message,
                         struct err *err);

/* Receive a message, as message_read. If no message is waiting, it also returns 0 as soon as
 * wake_fd is readable (-1: none). It does not drain wake_fd. */
int trainer_process_receive(struct trainer_process *process, int timeout_ms, int wake_fd,
                            struct message *out, struct err *err);

/* Ask it to exit, wait up to grace_ms (0: do not ask), then send SIGKILL; reap it; free the
 * object. Messages that still arrive are dropped. how[n] describes the end ("exited with
 * status 0", "killed by signal 9 (Killed)"). Returns within about grace_ms +
 * TRAINER_KILL_SECONDS, even if the kernel cannot end the process. NULL is fine. */
void trainer_process_end(struct trainer_process *process, int grace_ms, char *how, size_t n);

#endif
