/* trainer_loop: tokenfate-trainer as a child of the server: takes `run` messages on a
 * socket and answers with what happens (config/message.h). Lives exactly as
 * long as its parent wants: it ends on `exit`, on EOF, and is killed by the
 * kernel when the thread that spawned it ends. One thread. */
#ifndef TOKENFATE_TRAINER_LOOP_H
#define TOKENFATE_TRAINER_LOOP_H

#include "config/err.h"
#include "gpu/runner.h"

enum { TRAINER_LOOP_FD = 3 }; /* the server's socket, inherited */

/* Ties this process to its parent: SIGKILL when it ends, and ERR_UNAVAILABLE if
 * that has happened already (parent is not our parent any more). Makes us the
 * kernel's first choice when memory runs out, and leaves interrupts from a
 * terminal or a service manager to the parent. */
int trainer_loop_bind(int parent, struct err *err);

/* Until `exit` or the end of the server: 0. -1: ERR_PROTOCOL, ERR_IO, ERR_DEVICE. */
int trainer_loop(const struct runner_setup *setup, int fd, struct err *err);

#endif
