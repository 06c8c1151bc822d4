/* backend: the operations a model is made of, as one table of functions. A
 * backend (`cpu`, `cuda`; `ref` in the tests) fills every entry; a gap is an
 * error when it is opened. All shapes are row-major; "+=" operations accumulate.
 *
 * Memory lives on the device and is named by void pointers, in two kinds of
 * numbers: REAL (parameters, gradients, moments, losses, sums; float32, double
 * in ref) and ACT (activations and the weights that matrix products read;
 * the precision of the backend). Where both have the same size they are the same
 * type, and the model keeps no second copy of its weights. Offsets are in
 * elements; backend_at does the arithmetic. Reductions have a fixed order: same
 * inputs, same bits. One thread drives a backend. */
#ifndef TOKENFATE_BACKEND_H
#define TOKENFATE_BACKEND_H
#include <stddef.h>
#include <stdint.h>
#include "config/err.h"
#include "config/spec.h"
struct backend;
#endif
