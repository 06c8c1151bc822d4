/* slot_proof: see slot_proof.h. */
#include "server/queue/slot_proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/clock.h"
#include "config/hash.h"
#include "config/log.h"
#include "server/queue/proof.h"

enum { PROOF_AGAIN_MS = 60000 /* after one that could not be tried */ };

int slot_proof_needed(const struct slot *slot)
{
    return strcmp(slot->set->settings->cuda, "auto") == 0 &&
           strcmp(slot->device->kind, "cuda") == 0;
}

void slot_proof_id(const struct slot *slot, char id[PROOF_ID_MAX])
{
    char hex[HASH_HEX];
    id[0] = '\0';
    if (!slot_proof_needed(slot) || !slot->device->identity[0])
        return;
    hash_sha256(slot->device->identity, strlen(slot->device->identity), hex);
    snprintf(id, PROOF_ID_MAX, "%.*s", PROOF_ID_MAX - 1, hex);
}

/* Of several precisions the state that counts most is that of the device. */
static int slot_proof_rank(enum proof_state state)
{
    static const int ranks[PROOF_STATES] = {[PROOF_PASSED] = 0,
                                            [PROOF_NEVER] = 1,
                                            [PROOF_RUNNING] = 2,
                                            [PROOF_COULD_NOT_TRY] = 3,
                                            [PROOF_FAILED] = 4};
    return ranks[state];
}

struct proof slot_proof_sum(const struct proof proofs[PROOF_PRECISIONS], const char **precision)
{
    struct proof sum = {.state = PROOF_PASSED};
    *precision = NULL;
    for (int i = 0; i < PROOF_PRECISIONS; i++) {
        const struct proof *p = &proofs[i];
        const int is_worse = slot_proof_rank(p->state) > slot_proof_rank(sum.state);
        if (is_worse || (p->state == sum.state && !sum.reason[0]))
            memcpy(sum.reason, p->reason, sizeof sum.reason);
        if (is_worse)
            sum.state = p->state;
        if (!sum.started_at)
            sum.started_at = p->started_at;
        sum.ms += p->ms;
        sum.checks += p->checks;
        if (p->library[0])
            memcpy(sum.library, p->library, sizeof sum.library);
        if (p->worst[0] && (!*precision || !(p->error * sum.bound <= sum.error * p->bound))) {
            *precision = proofs_precision(i);
            memcpy(sum.worst, p->worst, sizeof sum.worst);
            sum.error = p->error;
            sum.bound = p->bound;
        }
    }
    return sum;
}

/* The sentence for the scheduler, "" if the device may be used. The caller holds the mutex. */
static void slot_proof_show(struct slot *slot)
{
    const char *precision;
    const struct proof sum = slot_proof_sum(slot->device->proofs, &precision);
    struct placement_device *shown = &slot->device->shown;
    const int is_expected = sum.state == PROOF_NEVER || sum.state == PROOF_RUNNING;
    shown->is_proving = slot_proof_needed(slot) && is_expected;
    shown->unproved[0] = '\0';
    if (!slot_proof_needed(slot) || sum.state == PROOF_PASSED)
        return;
    if (is_expected)
        snprintf(shown->unproved, sizeof shown->unproved,
                 "it is being compared with the reference");
    else
        snprintf(shown->unproved, sizeof shown->unproved, "%s: %.250s",
                 sum.state == PROOF_FAILED ? "it does not compute what the reference computes"
                                           : "it could not be compared with the reference yet",
                 sum.reason);
}

void slot_proof_look(struct slot *slot)
{
    struct proof stored[PROOF_PRECISIONS] = {{.state = PROOF_NEVER}};
    char identity[sizeof slot->device->identity];
    const char *precision;
    struct err err = ERR_INIT;
    if (!slot_proof_needed(slot))
        return;
    pthread_mutex_lock(&slot->set->mutex);
    memcpy(identity, slot->device->shown.device.identity, sizeof identity);
    const int is_known = slot->device->is_looked && strcmp(slot->device->identity, identity) == 0;
    pthread_mutex_unlock(&slot->set->mutex);
    if (is_known)
        return;
    if (proofs_load(slot->reader, identity, stored, &err) < 0)
        log_line(LOG_WARNING, "device %s: what it has proved cannot be read: %s", slot->device->id,
                 err.message);
    pthread_mutex_lock(&slot->set->mutex);
    memcpy(slot->device->identity, identity, sizeof slot->device->identity);
    memcpy(slot->device->proofs, stored, sizeof slot->device->proofs);
    slot->device->proof_due = slot_proof_sum(stored, &precision).state == PROOF_NEVER;
    slot->device->proof_at = 0;
    slot->device->is_looked = 1;
    slot_proof_show(slot);
    pthread_mutex_unlock(&slot->set->mutex);
}

/* The caller holds the mutex. */
static int slot_proof_is_due(const struct slot *slot)
{
    const struct device *device = slot->device;
    return device->proof_due || (device->proof_at && clock_monotonic_ms() >= device->proof_at);
}

/* 1 if no slot of the device has a job, and no other one a trainer. The caller holds the mutex. */
static int slot_proof_is_alone(const struct slot *slot)
{
    const struct slot *first = &slot->set->slots[slot->device->first];
    for (int i = 0; i < slot->device->shown.capacity.n_seats; i++)
        if (first[i].job[0] || (&first[i] != slot && first[i].pid))
            return 0;
    return 1;
}

int slot_proof_begin(struct slot *slot)
{
    struct device *device = slot->device;
    pthread_mutex_lock(&slot->set->mutex);
    const int begins = slot_proof_is_due(slot) && slot_proof_is_alone(slot);
    if (begins) {
        device->proof_due = 0;
        device->proof_at = 0;
        for (int i = 0; i < PROOF_PRECISIONS; i++)
            device->proofs[i] = (struct proof){.state = PROOF_RUNNING, .started_at = db_now()};
        slot_proof_show(slot);
    }
    pthread_mutex_unlock(&slot->set->mutex);
    return begins;
}

int slot_proof_waits(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    const int waits = slot_proof_is_due(slot);
    pthread_mutex_unlock(&slot->set->mutex);
    return waits;
}

static void slot_proof_tell(void *self, const struct proof proofs[PROOF_PRECISIONS])
{
    struct slot *slot = self;
    pthread_mutex_lock(&slot->set->mutex);
    for (int i = 0; i < PROOF_PRECISIONS; i++) {
        slot->device->proofs[i] = proofs[i];
        slot->device->proofs[i].state = PROOF_RUNNING; /* until all are known */
    }
    pthread_mutex_unlock(&slot->set->mutex);
}

struct proof_stored {
    const char *identity;
    const struct proof *proofs;
};

static int slot_proof_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct proof_stored *stored = arg;
    return proofs_store(writer, stored->identity, stored->proofs, err);
}

static void slot_proof_keep(const struct slot *slot, const struct proof proofs[PROOF_PRECISIONS])
{
    struct proof_stored stored = {slot->device->identity, proofs};
    struct err err = ERR_INIT;
    if (db_call(slot->set->db, slot_proof_store, &stored, &err) < 0)
        log_line(LOG_WARNING, "the proof of device %s cannot be stored: %s", slot->device->id,
                 err.message);
}

/* A card that stays full is told of once. */
static void slot_proof_log(struct slot *slot, const struct proof proofs[PROOF_PRECISIONS])
{
    const char *precision, *id = slot->device->id;
    const struct proof sum = slot_proof_sum(proofs, &precision);
    if (sum.state == PROOF_PASSED)
        log_with(
            LOG_INFO, LOG_FIELDS({"device", id}),
            "device %s is proved and used%s%s: %d checks in %.1f s; nearest to its bound: %s in "
            "%s, %.3g of %.3g",
            id, sum.reason[0] ? ", " : "", sum.reason, sum.checks, (double)sum.ms / 1e3, sum.worst,
            precision ? precision : "none", sum.error, sum.bound);
    else if (sum.state == PROOF_FAILED || strcmp(slot->proof_told, sum.reason) != 0)
        log_with(LOG_WARNING, LOG_FIELDS({"device", id}), "device %s is not used: %s: %s", id,
                 proofs_state_name(sum.state), sum.reason);
    memcpy(slot->proof_told, sum.reason, sizeof slot->proof_told);
}

void slot_proof_run(struct slot *slot)
{
    struct proof proofs[PROOF_PRECISIONS];
    const char *precision;
    struct err err = ERR_INIT;
    if (proof_run(slot->set->settings, slot->device->id, slot->wake_fd, &slot->set->stopping,
                  slot_proof_tell, slot, proofs, &err) != 0) {
        for (int i = 0; i < PROOF_PRECISIONS; i++) {
            proofs[i] = (struct proof){.state = PROOF_COULD_NOT_TRY};
            snprintf(proofs[i].reason, sizeof proofs[i].reason, "%.399s", err.message);
        }
        if (err.code == ERR_CANCELLED)
            return;
    }
    slot_proof_keep(slot, proofs);
    slot_proof_log(slot, proofs);
    pthread_mutex_lock(&slot->set->mutex);
    memcpy(slot->device->proofs, proofs, sizeof proofs);
    if (slot_proof_sum(proofs, &precision).state == PROOF_COULD_NOT_TRY)
        slot->device->proof_at = clock_monotonic_ms() + PROOF_AGAIN_MS;
    slot_proof_show(slot);
    pthread_mutex_unlock(&slot->set->mutex);
}

int64_t slot_proof_next(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    const int64_t at = slot->device->proof_at;
    pthread_mutex_unlock(&slot->set->mutex);
    return at;
}

void slot_proof_ask(struct slot *slot)
{
    pthread_mutex_lock(&slot->set->mutex);
    slot->device->proof_due = 1;
    pthread_mutex_unlock(&slot->set->mutex);
}

/* After a restart the stored verdict would count, so it is replaced. */
static void slot_proof_replace(struct slot *slot, const struct proof *by, int is_due)
{
    struct proof proofs[PROOF_PRECISIONS];
    if (!slot_proof_needed(slot))
        return;
    for (int i = 0; i < PROOF_PRECISIONS; i++)
        proofs[i] = *by;
    pthread_mutex_lock(&slot->set->mutex);
    slot->device->proof_due = is_due;
    memcpy(slot->device->proofs, proofs, sizeof proofs);
    slot_proof_show(slot);
    pthread_mutex_unlock(&slot->set->mutex);
    slot_proof_keep(slot, proofs);
}

void slot_proof_doubt(struct slot *slot)
{
    slot_proof_replace(slot, &(struct proof){.state = PROOF_NEVER}, 1);
}

void slot_proof_condemn(struct slot *slot, const char *reason)
{
    struct proof failed = {.state = PROOF_FAILED, .started_at = db_now()};
    if (!slot_proof_needed(slot))
        return;
    snprintf(failed.reason, sizeof failed.reason, "%s", reason);
    slot_proof_replace(slot, &failed, 0);
    log_with(LOG_WARNING, LOG_FIELDS({"device", slot->device->id}), "device %s is not used: %s",
             slot->device->id, reason);
}
