/* trainer_loop: tokenfate-trainer as a child process of the server: receives `run` messages on a
 * socket and answers with the messages of the job (config/message.h). It never outlives its parent:
 * it ends on `exit` and on EOF, and the kernel kills it when the thread that spawned it ends. One
 * thread; signals are blocked in it and in the backend's threads (gpu/signals.h). */
#ifndef TOKENFATE_TRAINER_LOOP_H
#define TOKENFATE_TRAINER_LOOP_H

#include "config/err.h"
#include "gpu/runner.h"

enum { TRAINER_LOOP_FD = 3 }; /* the server's socket, inherited */

/* Bind this process to its parent: SIGKILL when it ends, and ERR_UNAVAILABLE if it has ended
 * already (parent is not our parent any more). Makes this process the first choice of Linux's
 * out-of-memory killer, and ignores interrupts, which are the parent's business. */
int trainer_loop_bind(int parent, struct err *err);

/* Take messages until `exit` or the end of the server: 0. -1: ERR_PROTOCOL, ERR_IO, ERR_DEVICE. */
int trainer_loop(const struct runner_setup *setup, int fd, struct err *err);

#endif
