/* neighbours: see neighbours.h. */
#include "server/http/neighbours.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "server/http/peer.h"

/* An empty shell is the usual one. */
static int neighbours_may_log_in(const struct passwd *account)
{
    static const char *const none[] = {"nologin", "false"};
    const char *slash = strrchr(account->pw_shell, '/');
    const char *shell = slash ? slash + 1 : account->pw_shell;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (strcmp(shell, none[i]) == 0)
            return 0;
    return 1;
}

int neighbours_count(const char *passwd, int64_t own, char first[NEIGHBOURS_NAME_MAX])
{
    FILE *in = fopen(passwd, "re");
    const struct passwd *account;
    int n = 0;
    first[0] = '\0';
    while (in && (account = fgetpwent(in))) {
        const int64_t uid = account->pw_uid;
        if (uid == 0 || uid == own || !peer_is_person(uid) || !neighbours_may_log_in(account))
            continue;
        if (!n++)
            snprintf(first, NEIGHBOURS_NAME_MAX, "%s", account->pw_name);
    }
    if (in)
        fclose(in);
    return n;
}
