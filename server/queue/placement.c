/* placement: see placement.h. */
#include "server/queue/placement.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/emit.h"
#include "lab/memory.h"

enum { PLACEMENT_NEEDS_MAX = 96 }; /* bytes of "it needs ... GB ...", with its zero */

/* Lasting obstacles first, passing ones last: of several devices, the one with the greatest
 * obstacle is nearest to taking the job. */
enum obstacle {
    OBSTACLE_NONE,
    OBSTACLE_UNAVAILABLE, /* no trainer offers the device */
    OBSTACLE_UNPROVED,    /* the proof of a GPU is missing, or does not hold */
    OBSTACLE_SIZE,        /* more memory than the device has */
    OBSTACLE_THREADS,     /* more threads than the device has cores */
    OBSTACLE_PROVENANCE,  /* started elsewhere with other bits */
    OBSTACLE_REFUSED,     /* went back to the queue a short time ago */
    OBSTACLE_BUSY,        /* other jobs have its seats or cores */
    OBSTACLE_MEMORY,      /* other jobs have its memory */
    OBSTACLE_FREE         /* strangers have its memory */
};

/* Memory that is free no more while no job of ours holds the device is with other programs. */
static const enum reason_code placement_codes[] = {
    [OBSTACLE_NONE] = REASON_NONE,           [OBSTACLE_UNAVAILABLE] = REASON_DEVICE_UNAVAILABLE,
    [OBSTACLE_UNPROVED] = REASON_PROVING,    [OBSTACLE_SIZE] = REASON_MEMORY,
    [OBSTACLE_THREADS] = REASON_THREADS,     [OBSTACLE_PROVENANCE] = REASON_PROVENANCE,
    [OBSTACLE_BUSY] = REASON_BUSY,           [OBSTACLE_MEMORY] = REASON_MEMORY,
    [OBSTACLE_FREE] = REASON_MEMORY_FOREIGN,
};

char *placement_provenance(const struct placement_facts *facts, const char *precision,
                           const char *proof, const char *corpus_sha256)
{
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    struct emit json;
    if (emit_open_text(&json))
        return NULL;
    emit_object(&json, NULL);
    emit_text(&json, "host", host);
    emit_text(&json, "device", facts->device);
    emit_text(&json, "precision", precision);
    emit_text(&json, "isa", facts->isa);
    emit_integer(&json, "threads", facts->threads);
    emit_text(&json, "build", facts->build);
    emit_text(&json, "proof", proof[0] ? proof : NULL);
    emit_text(&json, "corpus_sha256", corpus_sha256);
    emit_end(&json);
    return emit_close_text(&json);
}

static int placement_same_text(json_t *root, const char *key, const char *here, char *why,
                               size_t size)
{
    const char *there = json_string_value(json_object_get(root, key));
    if (!there || !here[0] || strcmp(there, here) == 0)
        return 1;
    snprintf(why, size, "it started with %s %s, here it is %s; retried from the start it runs here",
             key, there, here);
    return 0;
}

/* The precision asked for: `auto` accepts any. What it was at the first start is in the
 * provenance. */
static int placement_as_asked(const char *asked, const char *precision, char *why, size_t size)
{
    if (!precision[0] || strcmp(asked, "auto") == 0 || strcmp(asked, precision) == 0)
        return 1;
    snprintf(why, size, "it asks for precision %s, here it would be %s", asked, precision);
    return 0;
}

int placement_continues(const struct job *job, const struct placement_facts *facts,
                        const char *precision, char *why, size_t size)
{
    json_t *root = job->provenance ? json_loads(job->provenance, 0, NULL) : NULL;
    if (!placement_as_asked(job->precision, precision, why, size)) {
        json_decref(root);
        return 0;
    }
    if (!root)
        return 1;
    json_int_t threads = json_integer_value(json_object_get(root, "threads"));
    int same = placement_same_text(root, "build", facts->build, why, size) &&
               placement_same_text(root, "device", facts->device, why, size) &&
               placement_same_text(root, "isa", facts->isa, why, size) &&
               placement_same_text(root, "precision", precision, why, size);
    if (same && facts->threads && threads != facts->threads) {
        same = 0;
        snprintf(why, size,
                 "it started with %lld threads, here there are %lld;"
                 " retried from the start it runs here",
                 (long long)threads, (long long)facts->threads);
    }
    json_decref(root);
    return same;
}

int placement_threads(const struct job *job, const struct placement_device *device)
{
    if (!device->capacity.cores.n)
        return 0;
    return job->threads ? job->threads : device->job_threads;
}

/* Sentence: more threads than cores. */
static void placement_too_few_cores(const struct job *job, const struct placement_device *here,
                                    char *waits, size_t size)
{
    const int threads = placement_threads(job, here), cores = here->capacity.cores.n;
    if (job->provenance)
        snprintf(waits, size,
                 "%s: it started with %d threads, here there are %d; retried from the start it"
                 " runs here",
                 here->device.id, threads, cores);
    else
        snprintf(waits, size, "it wants %d threads, %s has %d cores for jobs", threads,
                 here->device.id, cores);
}

static const struct placement_refusal *placement_refused(const struct job *job,
                                                         const struct placement_device *here)
{
    for (int i = 0; i < PLACEMENT_REFUSALS; i++)
        if (here->refusals[i].job[0] && here->refusals[i].attempt == job->attempt &&
            strcmp(here->refusals[i].job, job->id) == 0)
            return &here->refusals[i];
    return NULL;
}

/* Sentence part: memory of the job and, if it is not 0, of the device kind's libraries and
 * context (lab/memory.h: memory_beside). */
static void placement_needs(const struct job *job, const char *kind, int64_t beside,
                            char needs[PLACEMENT_NEEDS_MAX])
{
    const double bytes = (double)job->memory_bytes;
    if (beside > 0)
        snprintf(needs, PLACEMENT_NEEDS_MAX, "it needs %.2f GB and %s %.2f GB beside it",
                 bytes / 1e9, kind, (double)beside / 1e9);
    else
        snprintf(needs, PLACEMENT_NEEDS_MAX, "it needs %.2f GB", bytes / 1e9);
}

/* Obstacle of a device that could take the job if it had capacity, and its sentence. A process that
 * has the device open has context and libraries loaded; on an idle seat without one they are still
 * to come (memory_beside). */
static enum obstacle placement_room(const struct job *job, const struct placement_device *here,
                                    char *waits, size_t size)
{
    const struct trainer_device *device = &here->device;
    const struct capacity *capacity = &here->capacity;
    const int threads = placement_threads(job, here);
    struct trainer_team team;
    char needs[PLACEMENT_NEEDS_MAX];
    const enum capacity_fit fit = capacity_look(capacity, threads, job->memory_bytes);
    if (fit == CAPACITY_FITS)
        return OBSTACLE_NONE;
    if (fit == CAPACITY_FULL) {
        if (threads > capacity_cores_left(capacity) && capacity_cores_left(capacity) > 0)
            snprintf(waits, size, "%s is busy: of its %d cores %d are free, the job takes %d",
                     device->id, capacity->cores.n, capacity_cores_left(capacity), threads);
        else
            snprintf(waits, size, "%s is busy", device->id);
        return OBSTACLE_BUSY;
    }
    const int seat = capacity_seat(capacity, threads, &team);
    const int is_open = seat >= 0 && capacity->seats[seat].is_open;
    const int64_t left = capacity_left(capacity);
    placement_needs(job, device->kind, memory_beside(device->kind, is_open), needs);
    snprintf(waits, size, "%s, %s has %.2f GB free%s", needs, device->id,
             left > 0 ? (double)left / 1e9 : 0.0, fit == CAPACITY_MEMORY ? " beside its jobs" : "");
    return fit == CAPACITY_MEMORY ? OBSTACLE_MEMORY : OBSTACLE_FREE;
}

/* First obstacle between a job and a device, in the order of the enum, and its sentence. */
static enum obstacle placement_obstacle(const struct job *job, const struct placement_device *here,
                                        char *waits, size_t size)
{
    const struct trainer_device *device = &here->device;
    const int64_t at_first = memory_beside(device->kind, 0);
    char why[PLACEMENT_WHY_MAX], needs[PLACEMENT_NEEDS_MAX];
    if (!device->available) {
        snprintf(waits, size, "%s is not available: %s", device->id, device->reason);
        return OBSTACLE_UNAVAILABLE;
    }
    if (here->unproved[0]) {
        snprintf(waits, size, "%s is not used: %s", device->id, here->unproved);
        return OBSTACLE_UNPROVED;
    }
    if (device->memory_bytes > 0 && job->memory_bytes + at_first > device->memory_bytes) {
        placement_needs(job, device->kind, at_first, needs);
        snprintf(waits, size, "%s, %s has %.2f GB in all", needs, device->id,
                 (double)device->memory_bytes / 1e9);
        return OBSTACLE_SIZE;
    }
    if (placement_threads(job, here) > here->capacity.cores.n) {
        placement_too_few_cores(job, here, waits, size);
        return job->provenance ? OBSTACLE_PROVENANCE : OBSTACLE_THREADS;
    }
    if (!placement_continues(job, &here->facts, "", why, sizeof why)) {
        snprintf(waits, size, "%s: %s", device->id, why);
        return OBSTACLE_PROVENANCE;
    }
    const struct placement_refusal *refusal = placement_refused(job, here);
    if (refusal) {
        snprintf(waits, size, "%s: %s", device->id, refusal->why);
        return OBSTACLE_REFUSED;
    }
    return placement_room(job, here, waits, size);
}

static enum reason_code placement_code(const struct job *job, const struct placement_device *here,
                                       enum obstacle obstacle)
{
    if (obstacle == OBSTACLE_UNPROVED && !here->is_proving)
        return REASON_DEVICE_UNAVAILABLE;
    return obstacle == OBSTACLE_REFUSED ? placement_refused(job, here)->code
                                        : placement_codes[obstacle];
}

/* Kind or id of the device that is asked for, with "auto" resolved for this machine. */
static const char *placement_wanted(const char *device, const struct placement_device *devices,
                                    int n)
{
    if (strcmp(device, "auto") != 0)
        return device;
    for (int i = 0; i < n; i++)
        if (devices[i].device.available && strcmp(devices[i].device.kind, "cuda") == 0 &&
            (!devices[i].unproved[0] || devices[i].is_proving))
            return "cuda";
    return "cpu";
}

static int placement_is_wanted(const char *wanted, const struct placement_device *here)
{
    return strcmp(here->device.kind, wanted) == 0 || strcmp(here->device.id, wanted) == 0;
}

const char *placement_kind(const char *device, const struct placement_device *devices, int n)
{
    const char *wanted = placement_wanted(device, devices, n);
    for (int i = 0; i < n; i++)
        if (placement_is_wanted(wanted, &devices[i]))
            return devices[i].device.kind;
    return "";
}

void placement_look(const struct job *job, const struct placement_device *devices, int n,
                    struct placement_look *out)
{
    const char *wanted = placement_wanted(job->device, devices, n);
    enum obstacle told = OBSTACLE_NONE;
    *out = (struct placement_look){.stale = -1};
    out->code = REASON_DEVICE_UNAVAILABLE;
    snprintf(out->waits, sizeof out->waits, "there is no device %s here", wanted);
    for (int i = 0; i < n; i++) {
        char sentence[PLACEMENT_WAITS_MAX];
        if (!placement_is_wanted(wanted, &devices[i]))
            continue;
        enum obstacle obstacle = placement_obstacle(job, &devices[i], sentence, sizeof sentence);
        const int is_full = obstacle == OBSTACLE_BUSY || obstacle == OBSTACLE_MEMORY;
        out->devices |= (uint32_t)(obstacle == OBSTACLE_NONE || is_full) << i;
        out->full |= (uint32_t)is_full << i;
        if (obstacle == OBSTACLE_FREE || obstacle == OBSTACLE_MEMORY)
            out->stale = i;
        /* The sentence comes from the device that is nearest to taking the job. */
        if (obstacle > told) {
            told = obstacle;
            out->code = placement_code(job, &devices[i], obstacle);
            snprintf(out->waits, sizeof out->waits, "%s", sentence);
        }
    }
    out->is_its_own = told > OBSTACLE_UNAVAILABLE;
}
