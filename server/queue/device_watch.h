/* device_watch: a thread with a trainer that does nothing but tell how the GPUs
 * are doing (tokenfate-trainer --watch), so that a page shows them whether or not
 * one of ours computes there, and no library of a driver is ever loaded into the
 * server. A watcher that is lost is started again after a minute; one that cannot
 * be had says why in the log, once. */
#ifndef TOKENFATE_DEVICE_WATCH_H
#define TOKENFATE_DEVICE_WATCH_H

#include "config/err.h"
#include "config/settings.h"
#include "server/queue/trainer_process.h"

struct device_watch;

/* tell is called on the thread of the watch, with id, memory, free memory,
 * utilisation, temperature and driver of a device; with a NULL device when nothing
 * told so far holds any more. ERR_UNAVAILABLE. */
int device_watch_start(const struct settings *settings,
                       void (*tell)(void *self, const struct trainer_device *device), void *self,
                       struct device_watch **out, struct err *err);

/* Ends the process and joins the thread. NULL is fine. */
void device_watch_stop(struct device_watch *watch);

#endif
