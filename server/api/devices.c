/* devices: GET /devices: the compute devices of this machine and the state of the trainer on
 * each. Runs on the HTTP thread; workers_devices copies the states out under its lock. */
#include "server/api/devices.h"

#include "server/queue/workers.h"

/* A reading that may be unknown: below 0 is null. */
static void write_reading(struct emit *json, const char *key, int value)
{
    if (value < 0)
        emit_null(json, key);
    else
        emit_integer(json, key, value);
}

static void write_device(struct emit *json, const struct worker_status *status)
{
    const struct trainer_device *device = &status->device;
    emit_object(json, NULL);
    emit_text(json, "id", device->id);
    emit_text(json, "kind", device->kind);
    emit_text(json, "name", device->name);
    emit_integer(json, "memory_bytes", device->memory_bytes);
    emit_integer(json, "free_bytes", device->free_bytes);
    emit_bool(json, "available", device->available);
    emit_text(json, "reason", device->available ? NULL : device->reason);
    write_reading(json, "utilisation_percent", device->utilisation);
    write_reading(json, "temperature_celsius", device->temperature);
    emit_text(json, "driver", *device->driver ? device->driver : NULL);
    emit_text(json, "job", *status->job ? status->job : NULL);
    emit_bool(json, "trainer_running", status->pid != 0);
    emit_integer(json, "faults", status->faults);
    emit_end(json);
}

enum request_result api_devices(struct request *request)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    struct request_buffer buffer;
    int n = 0;
    workers_devices(request->server->workers, status, TRAINER_DEVICES_MAX, &n);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_array(&buffer.json, "devices");
    for (int i = 0; i < n; i++)
        write_device(&buffer.json, &status[i]);
    emit_end(&buffer.json);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}
