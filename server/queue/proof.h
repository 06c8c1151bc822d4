/* proof: has a GPU compared with the reference, by tokenfate-trainer --qualify as a child
 * (gpu/qualify.h), and reads what it prints. Called by slot_proof.c on the slot's thread, which
 * outlives the child: the child dies with the thread that spawned it. */
#ifndef TOKENFATE_PROOF_H
#define TOKENFATE_PROOF_H

#include <stdatomic.h>

#include "config/err.h"
#include "config/settings.h"
#include "db/proofs.h"

/* Run it to its end. `tell` is called after each line with what is known by then. wake_fd is
 * drained; when `stopping` is set the child is killed, ERR_CANCELLED. out[i] without a verdict is
 * PROOF_COULD_NOT_TRY with the reason. ERR_UNAVAILABLE: the child cannot be started. */
int proof_run(const struct settings *settings, const char *device, int wake_fd,
              const atomic_int *stopping,
              void (*tell)(void *self, const struct proof proofs[PROOF_PRECISIONS]), void *self,
              struct proof out[PROOF_PRECISIONS], struct err *err);

#endif
