/* health: GET /healthz (the process runs), /readyz (it can accept work) and /metrics
 * (counters in the text format of Prometheus), for supervisors and monitoring. The route
 * table calls the handlers on the HTTP thread with its database reader. No state of its
 * own: counters are atomics of struct server, devices and streams are snapshots of
 * queue/workers and events/hub. */
#include "server/api/health.h"

#include <stdatomic.h>
#include <stdio.h>

#include "config/emit.h"
#include "db/jobs.h"
#include "server/events/hub.h"
#include "server/queue/workers.h"

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

enum request_result api_readyz(struct request *request)
{
    int64_t counts[JOB_STATES];
    struct request_buffer buffer;
    const char *reasons[3];
    int n = 0;
    if (job_counts(request->reader, counts, &request->err))
        reasons[n++] = request->err.message;
    if (!health_has_device(request->server))
        reasons[n++] = "no device is available";
    if (atomic_load(&request->server->stopping))
        reasons[n++] = "the server is stopping";
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    emit_object(&buffer.json, NULL);
    emit_bool(&buffer.json, "ready", n == 0);
    emit_array(&buffer.json, "reasons");
    for (int i = 0; i < n; i++)
        emit_text(&buffer.json, NULL, reasons[i]);
    emit_end(&buffer.json);
    emit_end(&buffer.json);
    request_close_reply(request, &buffer, n ? 503 : 200, MEDIA_JSON);
    if (n)
        request_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    return REQUEST_DONE;
}

static void metric(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP tokenfate_%s %s\n# TYPE tokenfate_%s %s\n", name, help, name, type);
}

static void metrics_devices(FILE *out, struct server *server)
{
    struct worker_status status[TRAINER_DEVICES_MAX];
    int n = 0;
    workers_devices(server->workers, status, TRAINER_DEVICES_MAX, &n);
    metric(out, "device_available", "gauge", "1 if the device can take jobs.");
    for (int i = 0; i < n; i++)
        fprintf(out, "tokenfate_device_available{device=\"%s\"} %d\n", status[i].device.id,
                status[i].device.available);
    metric(out, "device_busy", "gauge", "1 while the device trains.");
    for (int i = 0; i < n; i++)
        fprintf(out, "tokenfate_device_busy{device=\"%s\"} %d\n", status[i].device.id,
                status[i].job[0] != '\0');
    metric(out, "trainer_faults_total", "counter", "Trainer processes lost.");
    for (int i = 0; i < n; i++)
        fprintf(out, "tokenfate_trainer_faults_total{device=\"%s\"} %lld\n", status[i].device.id,
                (long long)status[i].faults);
}

enum request_result api_metrics(struct request *request)
{
    struct server *server = request->server;
    int64_t counts[JOB_STATES];
    struct request_buffer buffer;
    if (job_counts(request->reader, counts, &request->err))
        return request_fail(request, &request->err);
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    FILE *out = buffer.out;
    metric(out, "jobs", "gauge", "Jobs by state.");
    for (int state = 0; state < JOB_STATES; state++)
        fprintf(out, "tokenfate_jobs{state=\"%s\"} %lld\n", job_state_name((enum job_state)state),
                (long long)counts[state]);
    metrics_devices(out, server);
    metric(out, "http_answers_total", "counter", "Answers by class of status.");
    for (int class = 1; class < SERVER_STATUS_CLASSES; class ++)
        fprintf(out, "tokenfate_http_answers_total{class=\"%dxx\"} %lld\n", class,
                (long long)atomic_load(&server->answers[class]));
    metric(out, "event_streams", "gauge", "Event streams that are open.");
    fprintf(out, "tokenfate_event_streams %d\n", hub_streams(server->hub));
    metric(out, "start_time_seconds", "gauge", "Start of the server, seconds since 1970.");
    fprintf(out, "tokenfate_start_time_seconds %.3f\n", (double)server->started_at / 1e6);
    return request_close_reply(request, &buffer, 200, "text/plain; version=0.0.4; charset=utf-8");
}
