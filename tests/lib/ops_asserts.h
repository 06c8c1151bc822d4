/* ops_asserts: the checks of gpu/ref/ops.h as assertions of cmocka, on a backend that is opened for
 * them. Included after cmocka.h. */
#ifndef TOKENFATE_OPS_ASSERTS_H
#define TOKENFATE_OPS_ASSERTS_H

#include "gpu/ref/ops.h"

typedef int ops_open(struct backend **out, struct err *err);

static inline struct backend *ops_opened(ops_open *open)
{
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    if (open(&backend, &err) != 0)
        fail_msg("%s", err.message);
    return backend;
}

/* One of the checks that take a backend alone. */
static inline void assert_check(ops_open *open, int (*check)(struct backend *, struct err *))
{
    struct backend *backend = ops_opened(open);
    struct err err = ERR_INIT;
    if (check(backend, &err) != 0)
        fail_msg("%s", err.message);
    backend->close(backend);
}

/* Every case on one backend; on `another` (or NULL) of the same precision too. */
static inline void assert_cases(ops_open *open, ops_open *another, int runs,
                                void (*before)(int run))
{
    struct backend *backends[] = {ops_opened(open), another ? ops_opened(another) : NULL, NULL};
    struct ops_worst worst;
    struct err err = ERR_INIT;
    if (ops_check_cases(backends, runs, before, &worst, &err) != 0)
        fail_msg("%s", err.message);
    for (int i = 0; backends[i]; i++)
        backends[i]->close(backends[i]);
}

static inline void assert_operation(ops_open *open, const char *name, int runs)
{
    struct backend *backend = ops_opened(open);
    struct ops_worst worst;
    struct err err = ERR_INIT;
    if (ops_check_operation(backend, name, runs, NULL, &worst, &err) < 0)
        fail_msg("%s", err.message);
    backend->close(backend);
}

#endif
