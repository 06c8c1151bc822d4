/* limits: see limits.h. */
#include "server/api/limits.h"

#include <stdlib.h>

#include "server/api/submission.h"

void api_limits_emit(struct emit *json, const char *key, const struct limits *limits)
{
    emit_object(json, key);
    for (int i = 0; i < LIMITS; i++) {
        emit_object(json, limit_name((enum limit)i));
        if (limits->value[i])
            emit_integer(json, "limit", limits->value[i]);
        else
            emit_null(json, "limit");
        emit_bool(json, "own", limits->is_own[i]);
        if (i == LIMIT_LARGEST_BYTES)
            emit_null(json, "present");
        else
            emit_number(json, "present", limits->present[i]);
        emit_end(json);
    }
    emit_end(json);
}

int api_limits_emit_of(struct emit *json, const char *key, struct request *request,
                       const char *user, struct err *err)
{
    struct limits limits;
    if (limits_get(request->reader, &request->server->settings, user, &limits, err) < 0)
        return -1;
    api_limits_emit(json, key, &limits);
    return 0;
}

static int check(const struct limits *limits, const struct job *jobs, int n, struct err *err)
{
    struct limits_ask *asks = calloc((size_t)n, sizeof *asks);
    if (!asks)
        return err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", n);
    for (int i = 0; i < n; i++) {
        const int64_t records = submission_record_bytes(&jobs[i]);
        asks[i] =
            (struct limits_ask){.stored_bytes = jobs[i].model_bytes + (records > 0 ? records : 0),
                                .memory_bytes = jobs[i].memory_bytes};
    }
    const int refused = limits_admit(limits, asks, n, err);
    free(asks);
    return refused;
}

int api_limits_check(const struct request *request, const struct job *jobs, int n, struct err *err)
{
    struct limits limits;
    if (limits_get(request->reader, &request->server->settings, request->user.name, &limits, err) <
        0)
        return -1;
    return check(&limits, jobs, n, err);
}

int api_limits_check_queued(const struct request *request, int n, struct err *err)
{
    struct limits limits;
    return limits_get(request->reader, &request->server->settings, request->user.name, &limits,
                      err) < 0
               ? -1
               : limits_admit_queued(&limits, n, err);
}

int api_limits_stored(struct db_writer *writer, const struct settings *settings,
                      const struct job *jobs, int n, struct err *err)
{
    struct limits limits;
    if (limits_read(writer, settings, jobs[0].user, &limits, err) < 0)
        return -1;
    limits.present[LIMIT_QUEUED] -= n;
    return check(&limits, jobs, n, err);
}
