/* ref_backend: the oracle. Every operation of gpu/backend.h in plain C, double
 * precision (REAL and ACT alike), one thread, the textbook formula, no trick.
 * Slow, obvious; the other backends are compared with it, and it is itself
 * checked by central differences. Tests only. */
#ifndef TOKENFATE_REF_BACKEND_H
#define TOKENFATE_REF_BACKEND_H

#include "config/err.h"
#include "gpu/backend.h"

int ref_backend_open(struct backend **out, struct err *err);

#endif
