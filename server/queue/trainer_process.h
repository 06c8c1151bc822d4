/* trainer_process: one tokenfate-trainer as a child: spawn, talk, end. A CUDA
 * fault poisons its process, so training never happens in this one (DESIGN
 * section 2). Used by the worker threads and by `tokenfate run`. The thread that
 * spawns must live as long as the child (PR_SET_PDEATHSIG fires when the
 * spawning thread ends). One thread per process object. */
#ifndef TOKENFATE_TRAINER_PROCESS_H
#define TOKENFATE_TRAINER_PROCESS_H

#include "config/err.h"
#include "config/message.h"
#include "config/settings.h"

enum {
    TRAINER_DEVICES_MAX = 16,
    TRAINER_SEND_SECONDS = 10,
    TRAINER_KILL_SECONDS = 10 /* from SIGKILL to the end: longer means stuck in a driver */
};

struct trainer_device {
    char id[32];    /* "cpu", "cuda:0" */
    char kind[16];  /* "cpu", "cuda" */
    char name[128]; /* "AMD EPYC 9B14, 2 threads, avx512" */
    int64_t memory_bytes, free_bytes;
    int available;
    char reason[256]; /* why not available */
    /* how a GPU is doing; -1, "": not known */
    int utilisation, temperature; /* percent, degrees Celsius */
    char driver[64];              /* version */
};

struct trainer_process;

/* What a `device` message says. */
void trainer_device_read(const struct message *message, struct trainer_device *out);

/* posix_spawn the trainer for a device ("cpu", "cuda:0"; NULL: one that computes
 * nothing and only tells how the GPUs are doing), socketpair on fd 3,
 * and wait for hello .. ready; no whole message for a minute (or
 * heartbeat_seconds, if less) is ERR_TIMEOUT. Its stderr stays ours, its stdout goes there too, its stdin is
 * empty; it is in a process group of its own, so that Ctrl-C reaches only us.
 * It inherits descriptors that are not close-on-exec (the lock of the data
 * folder). Program: settings->trainer, or tokenfate-trainer beside this one.
 * Command line: tokenfate-trainer --serve --parent PID --device ID --share DIR
 * --threads N; or --watch --parent PID. ERR_UNAVAILABLE (cannot be started, or ended before it was
 * ready), ERR_PROTOCOL, ERR_TIMEOUT. */
int trainer_process_start(const struct settings *settings, const char *device,
                          struct trainer_process **out, struct err *err);

/* Devices it named in its hello; *n of them. */
const struct trainer_device *trainer_process_devices(const struct trainer_process *process, int *n);
const char *trainer_process_build(const struct trainer_process *process);
int trainer_process_pid(const struct trainer_process *process);

/* Gives up with ERR_TIMEOUT when the trainer does not read for
 * TRAINER_SEND_SECONDS. */
int trainer_process_send(struct trainer_process *process, const struct message *message,
                         struct err *err);

/* As message_read. wake_fd >= 0: also returns 0 as soon as it is readable, if
 * no message is waiting. */
int trainer_process_receive(struct trainer_process *process, int timeout_ms, int wake_fd,
                            struct message *out, struct err *err);

/* Ask it to exit, wait up to grace_ms (0: do not even ask), then SIGKILL; reap;
 * free. What it still sends is dropped. how gets at most n bytes of a sentence
 * ("exited with status 0", "killed by signal 9 (Killed)"). Returns within
 * grace_ms + TRAINER_KILL_SECONDS even if the system cannot end it. NULL is fine. */
void trainer_process_end(struct trainer_process *process, int grace_ms, char *how, size_t n);

#endif
