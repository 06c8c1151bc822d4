/* health: GET /healthz (the process runs) and /readyz (it can accept work), for supervisors.
 * /readyz finds out by doing: the database writer writes a page, once in HEALTH_WRITE_MS at
 * most, and looks at the free space. No state of its own but the time of that write.
 *
 * Threads: health_look runs on the database writer's thread, everything else on the HTTP
 * thread. */
#include "server/api/health.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/clock.h"
#include "config/emit.h"
#include "config/file.h"
#include "db/jobs.h"
#include "server/queue/workers.h"
#include "server/redact.h"

enum {
    HEALTH_WRITE_MS = 1000, /* between two writes, whatever asks: each costs an fsync */
    HEALTH_FREE_MIB = 16    /* the WAL's growth to a checkpoint of it, and a small model */
};

/* What can keep the service from working. An empty reason: it does not. */
enum health_check { HEALTH_DATABASE, HEALTH_DISK, HEALTH_DEVICES, HEALTH_SERVER, HEALTH_CHECKS };
static const char *const health_names[HEALTH_CHECKS] = {"database", "disk", "devices", "server"};

struct health {
    struct server *server;
    char reason[HEALTH_CHECKS][ERR_MESSAGE_MAX];
};

enum request_result api_healthz(struct request *request)
{
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_bool(&buffer.json, "alive", 1);
    emit_end(&buffer.json);
    return request_close_reply(request, &buffer, 200, MEDIA_JSON);
}

static int health_has_device(struct server *server)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    int n = 0, available = 0;
    workers_devices(server->workers, status, TRAINER_DEVICES_MAX, &n);
    for (int i = 0; i < n; i++)
        available += status[i].device.available;
    return available > 0;
}

static void health_check_disk(struct health *health)
{
    struct err err = ERR_INIT;
    int64_t bytes = 0;
    char *reason = health->reason[HEALTH_DISK];
    if (file_free_bytes(health->server->settings.data, &bytes, &err)) {
        redact_err(&health->server->settings, &err);
        snprintf(reason, ERR_MESSAGE_MAX, "%s", err.message);
    } else if (bytes < (int64_t)HEALTH_FREE_MIB << 20) {
        snprintf(reason, ERR_MESSAGE_MAX, "%lld bytes are free, less than %d MiB", (long long)bytes,
                 HEALTH_FREE_MIB);
    }
}

/* Operation: look at the disk, and write unless a look has just written. */
static int health_look(struct db_writer *writer, void *arg, struct err *err)
{
    struct health *health = arg;
    struct server *server = health->server;
    const int64_t now = clock_monotonic_ms();
    health_check_disk(health);
    if (now < atomic_load(&server->wrote_ms) + HEALTH_WRITE_MS)
        return 0;
    if (db_try_to_write(writer, NULL, err))
        return -1;
    atomic_store(&server->wrote_ms, now);
    return 0;
}

static void health_write(struct emit *json, const struct health *health, int is_ready)
{
    emit_object(json, NULL);
    emit_bool(json, "ready", is_ready);
    emit_array(json, "reasons");
    for (int i = 0; i < HEALTH_CHECKS; i++)
        if (health->reason[i][0])
            emit_text(json, NULL, health->reason[i]);
    emit_end(json);
    emit_object(json, "checks");
    for (int i = 0; i < HEALTH_CHECKS; i++)
        emit_text(json, health_names[i], health->reason[i][0] ? health->reason[i] : "ok");
    emit_end(json);
    emit_end(json);
}

static enum request_result readyz_answer(struct request *request)
{
    struct health *health = request->state;
    struct server *server = request->server;
    struct request_buffer buffer;
    int is_ready = 1;
    if (request->result) {
        /* The write failed, or its COMMIT did, after the look had noted its time. */
        atomic_store(&server->wrote_ms, -HEALTH_WRITE_MS);
        redact_err(&server->settings, &request->err);
        snprintf(health->reason[HEALTH_DATABASE], ERR_MESSAGE_MAX, "%s", request->err.message);
    }
    if (!health_has_device(server))
        snprintf(health->reason[HEALTH_DEVICES], ERR_MESSAGE_MAX, "no device is available");
    if (atomic_load(&server->stopping))
        snprintf(health->reason[HEALTH_SERVER], ERR_MESSAGE_MAX, "the server is stopping");
    for (int i = 0; i < HEALTH_CHECKS; i++)
        is_ready &= !health->reason[i][0];
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    health_write(&buffer.json, health, is_ready);
    request_close_reply(request, &buffer, is_ready ? 200 : 503, MEDIA_JSON);
    if (!is_ready)
        request_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    return REQUEST_DONE;
}

enum request_result api_readyz(struct request *request)
{
    struct health *health = calloc(1, sizeof *health);
    if (!health) {
        err_set(&request->err, ERR_NO_MEMORY, "no memory to look");
        return request_fail(request, &request->err);
    }
    health->server = request->server;
    request->state = health;
    request->free_state = free;
    return request_submit(request, health_look, health, readyz_answer);
}
