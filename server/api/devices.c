/* devices: GET /devices: the devices of this box, with or without a trainer on them. */
#include "server/api/devices.h"

#include "server/json.h"
#include "server/queue/workers.h"

static void device_write_number(FILE *out, const char *name, int value)
{
    if (value < 0)
        fprintf(out, ",\"%s\":null", name);
    else
        fprintf(out, ",\"%s\":%d", name, value);
}

static void device_write(FILE *out, const struct worker_status *status)
{
    const struct trainer_device *device = &status->device;
    fputs("{\"id\":", out);
    json_write_string(out, device->id);
    fputs(",\"kind\":", out);
    json_write_string(out, device->kind);
    fputs(",\"name\":", out);
    json_write_string(out, device->name);
    fprintf(out, ",\"memory_bytes\":%lld,\"free_bytes\":%lld,\"available\":%s,\"reason\":",
            (long long)device->memory_bytes, (long long)device->free_bytes,
            device->available ? "true" : "false");
    json_write_string(out, device->available ? NULL : device->reason);
    device_write_number(out, "utilisation_percent", device->utilisation);
    device_write_number(out, "temperature_celsius", device->temperature);
    fputs(",\"driver\":", out);
    json_write_string(out, device->driver[0] ? device->driver : NULL);
    fputs(",\"job\":", out);
    json_write_string(out, *status->job ? status->job : NULL);
    fprintf(out, ",\"trainer_running\":%s,\"faults\":%lld}", status->pid ? "true" : "false",
            (long long)status->faults);
}

enum request_result api_devices(struct request *request)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    struct request_buffer buffer;
    int n = 0;
    workers_devices(request->server->workers, status, TRAINER_DEVICES_MAX, &n);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    fputs("{\"devices\":[", buffer.out);
    for (int i = 0; i < n; i++) {
        fputs(i ? ",\n" : "\n", buffer.out);
        device_write(buffer.out, &status[i]);
    }
    fputs("]}\n", buffer.out);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}
