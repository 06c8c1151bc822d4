/* watch: see watch.h. */
#include "gpu/watch.h"

#include <stdio.h>

#include "config/err.h"
#include "config/message.h"
#include "gpu/nvml.h"

enum {
    WATCH_MS = 2000, /* between two readings */
    ID_MAX_BYTES = 24
};

/* A card that does not answer is skipped in this round. */
static int tell(struct nvml *nvml, int number, int fd, struct err *err)
{
    char id[ID_MAX_BYTES];
    struct nvml_reading reading;
    struct err why = ERR_INIT;
    if (nvml_read(nvml, number, &reading, &why) != 0)
        return 0;
    snprintf(id, sizeof id, "cuda:%d", number);
    const struct message message = {.type = MESSAGE_DEVICE,
                                    .name = "",
                                    .kind = "cuda",
                                    .id = id,
                                    .bytes = reading.total_bytes,
                                    .free_bytes = reading.total_bytes - reading.used_bytes,
                                    .code = "",
                                    .text = "",
                                    .utilisation = reading.utilisation,
                                    .temperature = reading.temperature,
                                    .driver = (char *)nvml_driver(nvml),
                                    .identity = ""};
    return message_write(fd, &message, err);
}

static int tell_all(struct nvml *nvml, int fd, struct err *err)
{
    for (int number = 0; number < nvml_devices(nvml); number++)
        if (tell(nvml, number, fd, err) != 0)
            return -1;
    return 0;
}

static int greet(const char *build, int fd, struct err *err)
{
    const struct message hello = {
        .type = MESSAGE_HELLO, .version = MESSAGE_VERSION, .text = (char *)build};
    return message_write(fd, &hello, err) != 0 ||
                   message_write(fd, &(struct message){.type = MESSAGE_READY}, err) != 0
               ? -1
               : 0;
}

int watch(const char *build, int fd, struct err *err)
{
    struct nvml *nvml = NULL;
    struct message order = {0};
    struct message_reader *reader = message_reader_new(fd);
    int result = -1, got = 0;
    if (!reader) {
        err_set(err, ERR_NO_MEMORY, "no memory to read messages");
        goto out;
    }
    if (nvml_open(&nvml, err) != 0 || greet(build, fd, err) != 0)
        goto out;
    while (got >= 0 && !(got == 1 && order.type == MESSAGE_EXIT)) {
        if (tell_all(nvml, fd, err) != 0)
            goto out;
        got = message_read(reader, WATCH_MS, &order, err);
    }
    /* EOF on the socket means that the server is gone: a normal end. */
    result = got < 0 && err->code != ERR_IO ? -1 : 0;
out:
    message_clear(&order);
    message_reader_free(reader);
    nvml_close(nvml);
    return result;
}
