/* metrics: see metrics.h. Counters are atomics of struct server and of the database, devices and
 * streams are snapshots of queue/workers and events/hub, jobs are counted by SQL. Every label
 * has a bound: states, devices, routes of the table, METRICS_USERS users.
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. */
#include "server/api/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "config/file.h"
#include "db/jobs.h"
#include "server/events/hub.h"
#include "server/http/latency.h"
#include "server/queue/workers.h"

enum { METRICS_USERS = 50 }; /* users with a name of their own */

static void metric(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP tokenfate_%s %s\n# TYPE tokenfate_%s %s\n", name, help, name, type);
}

/* One histogram of a metric; label: "" or `name="value",`. Values hold no character that the
 * format escapes: they are names of this program and of its routes. */
static void metric_histogram(FILE *out, const char *name, const char *label,
                             const struct histogram *histogram)
{
    long long n = 0;
    const int labels = label[0] != '\0', end = labels ? (int)strlen(label) - 1 : 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        n += atomic_load(&histogram->counts[i]);
        if (i < HISTOGRAM_BOUNDS)
            fprintf(out, "tokenfate_%s_bucket{%sle=\"%g\"} %lld\n", name, label,
                    histogram->bounds[i], n);
        else
            fprintf(out, "tokenfate_%s_bucket{%sle=\"+Inf\"} %lld\n", name, label, n);
    }
    fprintf(out, "tokenfate_%s_sum%s%.*s%s %.6f\n", name, labels ? "{" : "", end, label,
            labels ? "}" : "", (double)atomic_load(&histogram->microseconds) / 1e6);
    fprintf(out, "tokenfate_%s_count%s%.*s%s %lld\n", name, labels ? "{" : "", end, label,
            labels ? "}" : "", n);
}

static long long metric_total(const struct histogram *histogram)
{
    long long n = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
        n += atomic_load(&histogram->counts[i]);
    return n;
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
                status[i].n_jobs > 0);
    metric(out, "device_jobs", "gauge", "Jobs that the device trains.");
    for (int i = 0; i < n; i++)
        fprintf(out, "tokenfate_device_jobs{device=\"%s\"} %d\n", status[i].device.id,
                status[i].n_jobs);
    metric(out, "trainer_faults_total", "counter", "Trainer processes lost.");
    for (int i = 0; i < n; i++)
        fprintf(out, "tokenfate_trainer_faults_total{device=\"%s\"} %lld\n", status[i].device.id,
                (long long)status[i].faults);
}

/* Names of users hold letters, digits and . _ - only (db/users.c). */
static void metrics_user(void *self, const char *user, const char *state, int64_t n)
{
    fprintf(self, "tokenfate_user_jobs{user=\"%s\",state=\"%s\"} %lld\n", user, state,
            (long long)n);
}

static int metrics_jobs(FILE *out, struct db_reader *reader, struct err *err)
{
    int64_t counts[JOB_STATES];
    if (job_counts(reader, counts, err))
        return -1;
    metric(out, "jobs", "gauge", "Jobs by state.");
    for (int state = 0; state < JOB_STATES; state++)
        fprintf(out, "tokenfate_jobs{state=\"%s\"} %lld\n", job_state_name((enum job_state)state),
                (long long)counts[state]);
    metric(out, "user_jobs", "gauge", "Jobs by user and state, of the users with most jobs.");
    return job_user_counts(reader, METRICS_USERS, metrics_user, out, err);
}

static void metrics_http(FILE *out, struct server *server)
{
    metric(out, "http_answers_total", "counter", "Answers by class of status.");
    for (int class = 1; class < SERVER_STATUS_CLASSES; class ++)
        fprintf(out, "tokenfate_http_answers_total{class=\"%dxx\"} %lld\n", class,
                (long long)atomic_load(&server->answers[class]));
    metric(out, "http_request_seconds", "histogram",
           "Time from a request's first line to its answer's, by route; none: no route took it.");
    for (size_t i = 0; i < latency_n(server); i++) {
        char route[LATENCY_LABEL_MAX], label[LATENCY_LABEL_MAX + 16];
        latency_label(server, i, route);
        snprintf(label, sizeof label, "route=\"%s\",", route);
        if (metric_total(&server->latency[i]))
            metric_histogram(out, "http_request_seconds", label, &server->latency[i]);
    }
    metric(out, "event_streams", "gauge", "Event streams that are open.");
    fprintf(out, "tokenfate_event_streams %d\n", hub_streams(server->hub));
}

static int metrics_storage(FILE *out, struct server *server, struct err *err)
{
    const struct db_statistics *statistics = db_statistics(server->db);
    int64_t bytes = 0;
    if (file_free_bytes(server->settings.data, &bytes, err))
        return -1;
    metric(out, "disk_free_bytes", "gauge", "Free space of the data folder.");
    fprintf(out, "tokenfate_disk_free_bytes %lld\n", (long long)bytes);
    metric(out, "commit_seconds", "histogram", "COMMIT of the database, with its fsync.");
    metric_histogram(out, "commit_seconds", "", &statistics->commit);
    metric(out, "queue_wait_seconds", "histogram", "From a job's submission to its first start.");
    metric_histogram(out, "queue_wait_seconds", "", &statistics->queue_wait);
    return 0;
}

enum request_result api_metrics(struct request *request)
{
    struct server *server = request->server;
    struct request_buffer buffer;
    if (request_open(request, &buffer))
        return REQUEST_DONE;
    if (metrics_jobs(buffer.out, request->reader, &request->err) ||
        metrics_storage(buffer.out, server, &request->err))
        return request_close_fail(request, &buffer, &request->err);
    metrics_devices(buffer.out, server);
    metrics_http(buffer.out, server);
    metric(buffer.out, "start_time_seconds", "gauge", "Start of the server, seconds since 1970.");
    fprintf(buffer.out, "tokenfate_start_time_seconds %.3f\n", (double)server->started_at / 1e6);
    return request_close_reply(request, &buffer, 200, "text/plain; version=0.0.4; charset=utf-8");
}
