/* device_watch: the state of the GPUs (free memory, utilisation, temperature), read by a
 * process of its own (tokenfate-trainer --watch) and received by a thread of its own.
 * workers.c starts and stops it.
 *
 * A process, because no library of a GPU driver shall be loaded into the server, and because
 * the state is shown also while no trainer of this server computes there. A watcher that is
 * lost is started again after a minute. One that cannot be started is logged once, and the
 * state stays unknown. */
#ifndef TOKENFATE_DEVICE_WATCH_H
#define TOKENFATE_DEVICE_WATCH_H

#include "config/err.h"
#include "config/settings.h"
#include "server/queue/trainer_process.h"

struct device_watch;

/* Start the thread. It calls tell with id, memory, free memory, utilisation, temperature and
 * driver of a device, and with a NULL device when everything told so far has become invalid
 * (the watcher was lost). ERR_NO_MEMORY, ERR_UNAVAILABLE. */
int device_watch_start(const struct settings *settings,
                       void (*tell)(void *self, const struct trainer_device *device), void *self,
                       struct device_watch **out, struct err *err);

/* End the process and join the thread. tell is not called after that. NULL is fine. */
void device_watch_stop(struct device_watch *watch);

#endif
