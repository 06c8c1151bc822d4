/* presets: complete specs to start from, read from share/presets/NAME.json when serve.c
 * starts the server. Constant from presets_open to presets_close, so any thread may read
 * them; the handlers run on the HTTP thread. */
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
    struct preset preset[PRESETS_MAX]; /* in the order of their names */
};

/* share: the program's folder of data files. A file that is not a valid spec fails the start,
 * because presets are part of the program. ERR_IO, ERR_INVALID, ERR_MALFORMED. */
int presets_open(const char *share, struct presets **out, struct err *err);
void presets_close(struct presets *presets);
/* NULL: there is none of that name. */
const struct preset *presets_find(const struct presets *presets, const char *name);

/* GET /presets and /presets/{name}. */
request_handler api_presets, api_preset;

#endif
