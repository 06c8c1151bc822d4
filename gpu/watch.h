/* watch: the server's child process that monitors the GPUs: memory in use by all programs,
 * utilisation, temperature, periodically. It is a process of its own because a driver library may
 * crash or hang, and because trainers come and go while the cards are shown. It computes nothing
 * and takes no memory of a card. One thread. */
#ifndef TOKENFATE_WATCH_H
#define TOKENFATE_WATCH_H

#include "config/err.h"

/* Send hello and ready on the socket, then a `device` message for every GPU, periodically, until
 * `exit` or the end of the server: 0. -1: ERR_UNAVAILABLE (the cards cannot be read), ERR_PROTOCOL,
 * ERR_IO. */
int watch(const char *build, int fd, struct err *err);

#endif
