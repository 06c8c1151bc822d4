/* watch: the child of the server that tells how the GPUs are doing: memory in use
 * by anybody, utilisation, temperature, again and again. A process of its own,
 * since a library of the driver may crash or hang, and since trainers come and go
 * while the cards are shown. It computes nothing and takes no memory of a card.
 * One thread. */
#ifndef TOKENFATE_WATCH_H
#define TOKENFATE_WATCH_H

#include "config/err.h"

/* Says hello and ready on the socket, then a `device` message for every GPU, and
 * so on until `exit` or the end of the server: 0. -1: ERR_UNAVAILABLE (the cards
 * cannot be asked), ERR_PROTOCOL, ERR_IO. */
int watch(const char *build, int fd, struct err *err);

#endif
