/* spec_support: what a spec may say and this build's engines do not do. One row a
 * field: it goes when the engine that computes it arrives. Asked by the server at
 * submit, by `tokenfate run` and by a trainer that runs alone; pure functions. */
#include "config/spec.h"

static int uses_adaptive_head(const struct spec *spec)
{
    return spec->model.head == HEAD_ADAPTIVE;
}

static const struct {
    const char *pointer;
    int (*uses)(const struct spec *spec);
    const char *message;
} unsupported[] = {
    {"/model/head", uses_adaptive_head, "\"adaptive\" is not available in this build"},
};

int spec_supported(const struct spec *spec, struct err *err)
{
    int bad = 0;
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (unsupported[i].uses(spec))
            bad = err_field(err, unsupported[i].pointer, "%s", unsupported[i].message);
    return bad;
}
