/* qualify_checks: see qualify_checks.h. A family of checks has a name and numbered members; the
 * order is that of the table, cheap and basic ones first. */
#include "gpu/qualify_checks.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "gpu/device.h"
#include "gpu/nvml.h"
#include "gpu/ref/ones.h"
#include "gpu/ref/ops.h"
#include "gpu/ref/whole.h"
#include "lab/memory.h"

enum { RUNS = 2, THREADS_MAX = 64 /* of the reference: there is no work for more */ };

struct qualify_subject {
    struct backend *backend;
    struct ops_ahead *ahead;
    struct nvml *nvml; /* NULL: memory in use is not told */
    int number;        /* of the device */
    struct nvml_reading before;
};

/* ---- families ---- */

static int check_promise(struct qualify_subject *s, int i, struct qualify_result *out,
                         struct err *err)
{
    (void)out;
    return ops_check_promise(s->backend, i, err);
}

static int check_operation(struct qualify_subject *s, int i, struct qualify_result *out,
                           struct err *err)
{
    struct ops_worst worst = OPS_WORST_INIT;
    const int cases = ops_check_operation(s->backend, ops_name(i), RUNS, s->ahead, &worst, err);
    out->cases = cases < 0 ? 0 : cases;
    out->error = worst.error;
    out->bound = worst.operation ? worst.bound : 0;
    snprintf(out->where, sizeof out->where, "case %d, array %d", worst.case_number, worst.array);
    return cases < 0 ? -1 : 0;
}

static int check_gradient(struct qualify_subject *s, int i, struct qualify_result *out,
                          struct err *err)
{
    struct whole_worst worst = {.bound = 0};
    const int result = whole_check_gradient(s->backend, (enum whole_shape)i, &worst, err);
    out->error = worst.error;
    out->bound = worst.bound;
    snprintf(out->where, sizeof out->where, "%s", worst.what);
    return result;
}

static int check_replay(struct qualify_subject *s, int i, struct qualify_result *out,
                        struct err *err)
{
    (void)out;
    return whole_check_replay(s->backend, (enum whole_shape)i, err);
}

static int check_pipeline(struct qualify_subject *s, int i, struct qualify_result *out,
                          struct err *err)
{
    (void)out;
    return whole_check_pipeline(s->backend, (enum whole_shape)i, err);
}

static int check_repeat(struct qualify_subject *s, int i, struct qualify_result *out,
                        struct err *err)
{
    (void)out;
    return whole_check_repeat(s->backend, (enum whole_shape)i, err);
}

static int check_ones(struct qualify_subject *s, int i, struct qualify_result *out, struct err *err)
{
    (void)out;
    return i == 0 ? ones_check_lengths(s->backend, err) : ones_check_presets(s->backend, err);
}

/* What the driver takes beside a job: what this process has of the card, its model being gone. Where
 * that is not told there is no verdict, because what all programs have may change meanwhile. */
static int check_memory(struct qualify_subject *s, int i, struct qualify_result *out,
                        struct err *err)
{
    struct nvml_reading after;
    int64_t job, available;
    (void)i;
    if (!s->nvml) {
        snprintf(out->note, sizeof out->note, "memory in use is not told");
        return 0;
    }
    if (whole_measure_memory(s->backend, WHOLE_SMALL, &job, &available, err) != 0 ||
        nvml_read(s->nvml, s->number, &after, err) != 0)
        return -1;
    const int64_t own = nvml_own_bytes(s->nvml, s->number), allowed = memory_beside("cuda", 0),
                  beside = own >= 0 ? own : after.used_bytes - s->before.used_bytes;
    snprintf(out->note, sizeof out->note, "%lld bytes beside a job, %lld allowed%s",
             (long long)beside, (long long)allowed, own >= 0 ? "" : ", by all programs");
    return own <= allowed ? 0
                          : err_set(err, ERR_NO_MEMORY,
                                    "driver and context take %lld bytes beside a job, %lld are "
                                    "allowed",
                                    (long long)own, (long long)allowed);
}

static const char *name_promise(int i)
{
    return ops_promise(i);
}

static const char *name_shape(int i)
{
    return i < WHOLE_GULLIVER ? whole_name((enum whole_shape)i) : NULL;
}

static const char *name_ones(int i)
{
    static const char *const names[] = {"of long sums", "of the presets", NULL};
    return names[i];
}

static const char *name_memory(int i)
{
    return i == 0 ? "a job" : NULL;
}

static const struct family {
    const char *name;
    const char *(*member)(int i); /* NULL behind the last */
    int (*check)(struct qualify_subject *subject, int i, struct qualify_result *out,
                 struct err *err);
} families[] = {
    {"promise", name_promise, check_promise}, {"operation", ops_name, check_operation},
    {"ones", name_ones, check_ones},          {"gradient", name_shape, check_gradient},
    {"replay", name_shape, check_replay},     {"pipeline", name_shape, check_pipeline},
    {"repeat", name_shape, check_repeat},     {"memory beside", name_memory, check_memory},
};
enum { FAMILIES = sizeof families / sizeof *families };

/* Family of check i, and its number there; NULL behind the last. */
static const struct family *find(int i, int *member)
{
    for (int f = 0; f < FAMILIES; f++)
        for (*member = 0; families[f].member(*member); ++*member)
            if (i-- == 0)
                return &families[f];
    return NULL;
}

const char *qualify_checks_name(int i, char name[QUALIFY_NAME_MAX])
{
    int member;
    const struct family *family = find(i, &member);
    if (!family)
        return NULL;
    snprintf(name, QUALIFY_NAME_MAX, "%s %s", family->name, family->member(member));
    return name;
}

/* ---- the subject ---- */

static int cores(void)
{
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < THREADS_MAX ? n : THREADS_MAX;
}

/* Memory and load are read before the context exists. */
static void look_before(struct qualify_subject *s)
{
    struct err why = ERR_INIT;
    if (s->number < 0 || nvml_open(&s->nvml, &why) != 0)
        return;
    if (nvml_read(s->nvml, s->number, &s->before, &why) == 0)
        return;
    nvml_close(s->nvml);
    s->nvml = NULL;
}

int qualify_checks_open(const char *device, enum spec_precision precision, const char *build,
                        int is_whole, struct qualify_subject **out, struct err *err)
{
    struct qualify_subject *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for a check");
    s->number = device_cuda_number(device);
    look_before(s);
    if (device_open(device, 0, precision, build, &s->backend, err) != 0) {
        nvml_close(s->nvml);
        free(s);
        return -1;
    }
    s->ahead = is_whole ? ops_ahead_open(precision, cores()) : NULL;
    *out = s;
    return 0;
}

void qualify_checks_close(struct qualify_subject *subject)
{
    ops_ahead_close(subject->ahead);
    subject->backend->close(subject->backend);
    nvml_close(subject->nvml);
    free(subject);
}

const char *qualify_checks_isa(const struct qualify_subject *subject)
{
    return subject->backend->isa;
}

int qualify_checks_others(const struct qualify_subject *subject)
{
    return subject->nvml && subject->before.utilisation > 0;
}

const char *qualify_checks_notice(const struct qualify_subject *subject)
{
    return subject->backend->notice;
}

int qualify_checks_look(struct backend *backend, struct err *err)
{
    struct err why = ERR_INIT;
    if ((ones_check_lengths(backend, &why) == 0 &&
         whole_check_replay(backend, WHOLE_SMALL, &why) == 0) ||
        why.code == ERR_NO_MEMORY)
        return 0;
    return err_set(err, ERR_DEVICE_WRONG, "the device does not compute as it did: %s", why.message);
}

void qualify_checks_run(struct qualify_subject *subject, int i, struct qualify_result *out)
{
    int member;
    struct err err = ERR_INIT;
    const int64_t began = clock_monotonic_ms();
    const struct family *family = find(i, &member);
    *out = (struct qualify_result){0};
    qualify_checks_name(i, out->name);
    if (family->check(subject, member, out, &err) != 0) {
        out->code = err.code;
        snprintf(out->reason, sizeof out->reason, "%.255s", err.message);
    }
    out->ms = clock_monotonic_ms() - began;
}
