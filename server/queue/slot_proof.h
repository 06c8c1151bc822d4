/* slot_proof: the proof of a slot's GPU: whether it may be used, when it is compared with the
 * reference again, what is shown of it. Called by slot.c and workers.c. With the setting `cuda` on
 * auto a GPU is used if and only if the proof of its present identity holds in every precision.
 *
 * Guards as in slot.h: the state lies under the mutex of the set; slot_proof_run runs on the slot's
 * thread. */
#ifndef TOKENFATE_SLOT_PROOF_H
#define TOKENFATE_SLOT_PROOF_H

#include "db/proofs.h"
#include "server/queue/slot.h"

/* 1 if this slot's device has to prove itself. */
int slot_proof_needed(const struct slot *slot);

/* Id of what the proof holds for, "" where there is nothing to prove. The caller holds the mutex, or
 * is the slot's thread. */
void slot_proof_id(const struct slot *slot, char id[PROOF_ID_MAX]);

/* The device has been found, or reported anew: if its identity has changed, take what the database
 * knows of it. The slot's thread, or the main thread before that starts. */
void slot_proof_look(struct slot *slot);

/* 1 if a proof is due now, and mark it as running: no slot of the device has a job, and no other one
 * a trainer. The slot's thread. */
int slot_proof_begin(struct slot *slot);

/* 1 if a proof is due that other slots of the device still keep from beginning: this one's trainer,
 * if it is idle, is to go too. The slot's thread. */
int slot_proof_waits(struct slot *slot);

/* Run the proof that has begun, and store its verdict. The slot has no trainer. */
void slot_proof_run(struct slot *slot);

/* Time (ms) at which the next try is due, 0: none. The slot's thread. */
int64_t slot_proof_next(struct slot *slot);

/* Have it proved again on request, before the next job. Any thread; the caller wakes the slot. */
void slot_proof_ask(struct slot *slot);

/* A trainer was lost, by a fault of the device perhaps: it is not used until it is proved again. The
 * slot's thread. */
void slot_proof_doubt(struct slot *slot);

/* It passes its proofs, but fails its jobs: not used until somebody has it proved again. The slot's
 * thread. */
void slot_proof_condemn(struct slot *slot, const char *reason);

/* The verdicts of all precisions as one: the worst state, sums, the error nearest to its bound
 * (*precision: in which, NULL: none). */
struct proof slot_proof_sum(const struct proof proofs[PROOF_PRECISIONS], const char **precision);

#endif
