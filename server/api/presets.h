/* presets: complete specs to start from, read once from share/presets/NAME.json.
 * Constant after presets_open; any thread. */
#ifndef TOKENFATE_PRESETS_H
#define TOKENFATE_PRESETS_H

#include "config/err.h"
#include "server/http/request.h"

enum { PRESETS_MAX = 64 };

struct preset {
    char name[128];
    char *spec;  /* complete JSON */
    char *notes; /* its notes field */
};

struct presets {
    int n;
    struct preset preset[PRESETS_MAX]; /* by name */
};

/* A file that is not a valid spec is an error: presets are part of the program. */
int presets_open(const char *share, struct presets **out, struct err *err);
void presets_close(struct presets *presets);
const struct preset *presets_find(const struct presets *presets, const char *name);

/* GET /presets and /presets/{name}. */
request_handler api_presets, api_preset;

#endif
