/* device_watch: see device_watch.h. The thread spawns the process itself, because the process
 * dies with the thread that spawned it (trainer_process.h). `stopping` is set before wake_fd
 * becomes readable, so a thread that the eventfd wakes finds it set. */
#include "server/queue/device_watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/log.h"

enum {
    WATCH_AGAIN_MS = 60000,   /* pause after a watcher that was lost */
    WATCH_SILENCE_MS = 30000, /* a watcher reports every two seconds, or hangs in a driver */
    WATCH_GRACE_MS = 1000     /* for a watcher to exit by itself */
};

struct device_watch {
    const struct settings *settings;
    void (*tell)(void *self, const struct trainer_device *device);
    void *self;
    pthread_t thread;
    int wake_fd; /* eventfd: readable once the watch shall stop; never drained */
    atomic_int stopping;
};

/* Receive until the watcher is lost or the watch shall stop. */
static void watch_listen(struct device_watch *watch, struct trainer_process *process,
                         struct err *err)
{
    struct message message = {0};
    int got = 1;
    while (got == 1 && !atomic_load(&watch->stopping)) {
        got = trainer_process_receive(process, WATCH_SILENCE_MS, watch->wake_fd, &message, err);
        if (got == 0)
            err_set(err, ERR_TIMEOUT, "it said nothing for %d seconds", WATCH_SILENCE_MS / 1000);
        if (got == 1 && message.type == MESSAGE_DEVICE) {
            struct trainer_device device;
            trainer_device_read(&message, &device);
            watch->tell(watch->self, &device);
        }
    }
    message_clear(&message);
}

static void *watch_thread(void *arg)
{
    struct device_watch *watch = arg;
    struct trainer_process *process;
    struct err err = ERR_INIT;
    char how[128];
    while (!atomic_load(&watch->stopping)) {
        err_clear(&err);
        if (trainer_process_start(watch->settings, NULL, &process, &err) != 0) {
            log_line(LOG_WARNING, "how the GPUs are doing is not known: %s", err.message);
            break;
        }
        watch_listen(watch, process, &err);
        trainer_process_end(process, WATCH_GRACE_MS, how, sizeof how);
        watch->tell(watch->self, NULL);
        if (atomic_load(&watch->stopping))
            break;
        log_line(LOG_WARNING, "the process that watches the GPUs was lost, it %s: %s", how,
                 err.message);
        struct pollfd stop = {.fd = watch->wake_fd, .events = POLLIN};
        poll(&stop, 1, WATCH_AGAIN_MS);
    }
    return NULL;
}

int device_watch_start(const struct settings *settings,
                       void (*tell)(void *self, const struct trainer_device *device), void *self,
                       struct device_watch **out, struct err *err)
{
    struct device_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return err_set(err, ERR_NO_MEMORY, "no memory to watch the GPUs");
    *watch = (struct device_watch){.settings = settings, .tell = tell, .self = self};
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    errno = watch->wake_fd < 0 ? errno : pthread_create(&watch->thread, NULL, watch_thread, watch);
    if (errno) {
        err_set_errno(err, ERR_UNAVAILABLE, "the thread that watches the GPUs cannot start");
        if (watch->wake_fd >= 0)
            close(watch->wake_fd);
        free(watch);
        return -1;
    }
    *out = watch;
    return 0;
}

void device_watch_stop(struct device_watch *watch)
{
    if (!watch)
        return;
    atomic_store(&watch->stopping, 1);
    eventfd_write(watch->wake_fd, 1);
    pthread_join(watch->thread, NULL);
    close(watch->wake_fd);
    free(watch);
}
