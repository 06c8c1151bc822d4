/* logins: see logins.h. */
#include "server/http/logins.h"

#include <stdio.h>
#include <string.h>

#include "config/clock.h"
#include "config/log.h"
#include "server/http/client.h"

/* The pair's entry: the one it has, else a free one, else the one longest silent. */
static struct login *logins_find(struct logins *logins, const char *account, const char *address,
                                 int is_session)
{
    struct login *oldest = logins->login;
    for (int i = 0; i < logins->n; i++) {
        struct login *login = &logins->login[i];
        if (login->is_session == is_session && strcmp(login->address, address) == 0 &&
            strcmp(login->account, account) == 0)
            return login;
        if (login->last_ms < oldest->last_ms)
            oldest = login;
    }
    if (logins->n < LOGINS_MAX)
        oldest = &logins->login[logins->n++];
    *oldest = (struct login){.is_session = is_session};
    snprintf(oldest->account, sizeof oldest->account, "%s", account);
    snprintf(oldest->address, sizeof oldest->address, "%s", address);
    return oldest;
}

/* 1, 2, 4, ... seconds */
static int logins_pause(int n)
{
    const int doublings = n - LOGINS_FREE;
    return doublings < 6 ? 1 << doublings : LOGINS_PAUSE_SECONDS;
}

int logins_count(struct logins *logins, const char *account, const char *address, int is_session,
                 int64_t now_ms, int *unlogged)
{
    struct login *login = logins_find(logins, account, address, is_session);
    if (now_ms - login->last_ms > LOGINS_FORGET_SECONDS * 1000)
        login->n = 0, login->unlogged = 0, login->pause_end_ms = 0;
    login->last_ms = now_ms;
    if (now_ms < login->pause_end_ms) {
        login->unlogged++;
        *unlogged = -1;
        return (int)((login->pause_end_ms - now_ms + 999) / 1000);
    }
    *unlogged = login->unlogged;
    login->unlogged = 0;
    if (++login->n >= LOGINS_FREE)
        login->pause_end_ms = now_ms + (int64_t)logins_pause(login->n) * 1000;
    return 0;
}

/* Of the HTTP thread. */
static struct logins logins;

void logins_refuse(struct request *request, const struct credential *credential, struct err *err)
{
    char account[USER_NAME_MAX + 1] = "", client[REQUEST_CLIENT_MAX], more[48] = "";
    struct err unread = ERR_INIT;
    const int is_session = strcmp(credential->kind, "session") == 0;
    int unlogged;
    if (credential->hash[0])
        credential_owner(request->server->reader, credential->hash, account, &unread);
    client_name(request, client); /* no user is known: the address */
    const char *address = strncmp(client, "at ", 3) == 0 ? client + 3 : client;
    const int pause =
        logins_count(&logins, account, address, is_session, clock_monotonic_ms(), &unlogged);
    if (unlogged > 0)
        snprintf(more, sizeof more, "; %d more since the last line", unlogged);
    if (unlogged >= 0)
        log_with(LOG_WARNING,
                 LOG_FIELDS({"request", request->id}, {"address", address},
                            {"account", *account ? account : NULL}, {"kind", credential->kind}),
                 "refused a %s%s%s from %s%s (request %s)", credential->kind,
                 *account ? " of " : "", account, address, more, request->id);
    if (!pause || is_session)
        return;
    err_clear(err);
    err_set(err, ERR_TOO_MANY, "too many refused tokens from this address; try again in %d s",
            pause);
    request->retry_seconds = pause;
}
