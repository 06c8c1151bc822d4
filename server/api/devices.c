/* devices: GET /devices: the compute devices of this machine, the state of the trainer on each and
 * the proof of each GPU; POST /devices/{id}/qualify has one proved again. Both run on the HTTP thread; workers_devices copies the states out under its lock. */
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

/* null for a device that has nothing to prove. */
static void write_proof(struct emit *json, const struct worker_status *status)
{
    const struct proof *proof = &status->proof;
    if (!status->is_proof_needed) {
        emit_null(json, "proof");
        return;
    }
    emit_object(json, "proof");
    emit_text(json, "id", status->proof_id[0] ? status->proof_id : NULL);
    emit_text(json, "state", proofs_state_name(proof->state));
    emit_time(json, "started_at", proof->started_at);
    emit_number(json, "seconds", (double)proof->ms / 1e3);
    emit_integer(json, "checks", proof->checks);
    emit_text(json, "library", proof->library[0] ? proof->library : NULL);
    emit_text(json, "reason", proof->reason[0] ? proof->reason : NULL);
    if (status->precision[0]) {
        emit_object(json, "worst");
        emit_text(json, "check", proof->worst);
        emit_text(json, "precision", status->precision);
        emit_number(json, "error", proof->error);
        emit_number(json, "bound", proof->bound);
        emit_end(json);
    } else {
        emit_null(json, "worst");
    }
    emit_end(json);
}

/* The jobs, how many there may be at once, and on how many cores. */
static void write_jobs(struct emit *json, const struct worker_status *status)
{
    emit_integer(json, "slots", status->n_seats);
    if (status->cores)
        emit_integer(json, "cores", status->cores);
    else
        emit_null(json, "cores");
    emit_array(json, "jobs");
    for (int i = 0; i < status->n_jobs; i++) {
        emit_object(json, NULL);
        emit_text(json, "id", status->jobs[i].id);
        if (status->jobs[i].threads)
            emit_integer(json, "threads", status->jobs[i].threads);
        else
            emit_null(json, "threads");
        emit_integer(json, "reserved_bytes", status->jobs[i].bytes);
        emit_end(json);
    }
    emit_end(json);
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
    emit_text(json, "reason", *device->reason ? device->reason : NULL);
    write_reading(json, "utilisation_percent", device->utilisation);
    write_reading(json, "temperature_celsius", device->temperature);
    emit_text(json, "driver", *device->driver ? device->driver : NULL);
    write_jobs(json, status);
    emit_bool(json, "trainer_running", status->pid != 0);
    emit_integer(json, "faults", status->faults);
    write_proof(json, status);
    emit_end(json);
}

enum request_result api_device_qualify(struct request *request)
{
    if (workers_prove(request->server->workers, request->params[0], &request->err) != 0)
        return request_fail(request, &request->err);
    return request_reply_empty(request);
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
