/* ref_backend: the reference backend. Every operation of gpu/backend.h in plain C, float64 (REAL
 * and ACT alike), one thread, by the textbook formula. Slow and obvious: the other backends are
 * compared with it, by the tests and when a device is qualified, and it is itself checked by central
 * differences. */
#ifndef TOKENFATE_REF_BACKEND_H
#define TOKENFATE_REF_BACKEND_H

#include "config/err.h"
#include "gpu/backend.h"

int ref_backend_open(struct backend **out, struct err *err);

#endif
