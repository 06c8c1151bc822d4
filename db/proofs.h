/* proofs: verdicts of GPUs that were compared with the reference, one for each precision and
 * identity (all that a verdict holds for, gpu/identity.h). Only verdicts are stored: passed or
 * failed. The slot of a GPU reads and writes them (server/queue/slot_proof.c). */
#ifndef TOKENFATE_PROOFS_H
#define TOKENFATE_PROOFS_H

#include <stdint.h>

#include "config/err.h"
#include "db/db.h"

enum proof_state {
    PROOF_NEVER,         /* not tried */
    PROOF_RUNNING,       /* it is running */
    PROOF_PASSED,        /* all checks hold */
    PROOF_COULD_NOT_TRY, /* no room on the card, or the time ran out beside others: tried again */
    PROOF_FAILED,        /* a check does not hold */
    PROOF_STATES
};

enum {
    PROOF_PRECISIONS = 2, /* float32, bfloat16 */
    PROOF_ID_MAX = 17     /* 16 digits of the identity's SHA-256, and a zero */
};

struct proof {
    enum proof_state state;
    int64_t started_at; /* microseconds */
    int64_t ms;         /* that it took */
    int checks;         /* that were made */
    char worst[64];     /* the check that came nearest to its bound, "" = none */
    double error, bound;
    char library[192]; /* of products, and what else determines the bits; "" = unknown */
    char reason[400];  /* why it has not passed; or, though it has, "without graphs: ..."; "" */
};

const char *proofs_state_name(enum proof_state state);

/* "fp32" or "bf16". */
const char *proofs_precision(int i);

/* The stored verdict of each precision; PROOF_NEVER where there is none. */
int proofs_load(struct db_reader *reader, const char *identity, struct proof out[PROOF_PRECISIONS],
                struct err *err);

/* Replace the verdicts of an identity by those of `proofs` that have passed or failed. */
int proofs_store(struct db_writer *writer, const char *identity,
                 const struct proof proofs[PROOF_PRECISIONS], struct err *err);

#endif
