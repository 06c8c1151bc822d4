/* logins: refused credentials, so that guessing is slow and the log stays readable. auth.c and
 * api/session.c count on the HTTP thread, after the credential was looked up: one that is
 * valid always passes, whatever others do at its address.
 *
 * What is counted is a pair of account and address: the account is the user of a credential
 * that has expired or whose user is disabled, and "" for one that nobody has. After
 * LOGINS_FREE refusals a pair has a pause, which doubles with every further refusal; what
 * comes during a pause is answered 429 and not logged, but counted. Session cookies are
 * counted apart and always answered 401: a page with an old one has to find its login. */
#ifndef TOKENFATE_LOGINS_H
#define TOKENFATE_LOGINS_H

#include <stdint.h>

#include "config/err.h"
#include "server/http/request.h"

enum {
    LOGINS_MAX = 1024,         /* pairs remembered, 0.2 MB; the one longest silent goes first */
    LOGINS_FREE = 10,          /* a person who mistypes, a script that is started again */
    LOGINS_PAUSE_SECONDS = 60, /* longest pause: 1440 guesses a day */
    LOGINS_FORGET_SECONDS = 15 * 60 /* without a refusal, a pair starts anew */
};

struct login {
    char account[USER_NAME_MAX + 1], address[REQUEST_CLIENT_MAX];
    int is_session;
    int n, unlogged; /* refusals; those since the last that was logged */
    int64_t last_ms, pause_end_ms;
};

struct logins {
    struct login login[LOGINS_MAX];
    int n;
};

/* Count a refusal at now_ms. *unlogged: refusals of this pair that were not logged before this
 * one, or -1: this one is not to be logged. Returns the seconds of pause that are left, 0:
 * none. */
int logins_count(struct logins *logins, const char *account, const char *address, int is_session,
                 int64_t now_ms, int *unlogged);

/* A request's credential was refused: count, log, and turn *err (ERR_UNAUTHORIZED) into
 * ERR_TOO_MANY during a pause. HTTP thread. */
void logins_refuse(struct request *request, const struct credential *credential, struct err *err);

#endif
