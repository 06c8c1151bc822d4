/* cli: see cli.h. */
#include "server/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/hash.h"
#include "db/db.h"
#include "db/users.h"
#include "server/auth.h"
#include "server/server.h"

static int cli_fail(const struct err *err)
{
    fprintf(stderr, "tokenfate: %s\n", err->message);
    return 1;
}

static int cli_usage(const char *usage)
{
    fprintf(stderr, "usage: %s\n", usage);
    return 2;
}

static int cli_database(const struct settings *settings, char *path, size_t n, struct err *err)
{
    return server_data_path(settings, path, n, err, "tokenfate.db");
}

/* One durable operation, with the lock. */
static int cli_write(const struct settings *settings, db_operation *operation, void *arg)
{
    struct err err;
    struct db *db = NULL;
    char path[SERVER_PATH_MAX];
    err_clear(&err);
    int lock = serve_lock(settings, &err);
    if (lock < 0)
        return err.code == ERR_CONFLICT
                   ? (err_prefix(&err, "stop the server first"), cli_fail(&err))
                   : cli_fail(&err);
    int failed = hash_init(&err) || cli_database(settings, path, sizeof path, &err) ||
                 db_open(path, &db, &err) || db_call(db, operation, arg, &err);
    db_close(db);
    close(lock);
    return failed ? cli_fail(&err) : 0;
}

/* One reading, beside a server or not. */
static int cli_read(const struct settings *settings,
                    int (*read)(struct db_reader *reader, void *arg, struct err *err), void *arg)
{
    struct err err;
    struct db_reader *reader = NULL;
    char path[SERVER_PATH_MAX];
    err_clear(&err);
    int failed = cli_database(settings, path, sizeof path, &err) ||
                 db_reader_open_path(path, &reader, &err) || read(reader, arg, &err);
    db_reader_close(reader);
    return failed ? cli_fail(&err) : 0;
}

/* ---- user ---- */

struct cli_user {
    const char *name;
    int admin;
};

static int cli_user_insert(struct db_writer *writer, void *arg, struct err *err)
{
    const struct cli_user *user = arg;
    return user_insert(writer, user->name, user->admin, err);
}

static int cli_user_disable(struct db_writer *writer, void *arg, struct err *err)
{
    const struct cli_user *user = arg;
    return user_change(writer, user->name, -1, 1, err);
}

static int cli_user_print(void *self, const struct user *user)
{
    char made[32];
    time_t seconds = (time_t)(user->created_at / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(made, sizeof made, "%Y-%m-%d", &utc);
    fprintf(self, "%-24s %-6s %-9s %s\n", user->name, user->admin ? "admin" : "user",
            user->disabled ? "disabled" : "active", made);
    return 0;
}

static int cli_user_list(struct db_reader *reader, void *arg, struct err *err)
{
    return user_list(reader, cli_user_print, arg, err);
}

int cli_user(const struct settings *settings, int argc, char **argv)
{
    struct cli_user user = {0};
    const char *verb = argc ? argv[0] : "";
    if (strcmp(verb, "list") == 0 && argc == 1)
        return cli_read(settings, cli_user_list, stdout);
    if (strcmp(verb, "add") == 0 && (argc == 2 || (argc == 3 && !strcmp(argv[2], "--admin")))) {
        user = (struct cli_user){argv[1], argc == 3};
        return cli_write(settings, cli_user_insert, &user);
    }
    if (strcmp(verb, "disable") == 0 && argc == 2) {
        user.name = argv[1];
        return cli_write(settings, cli_user_disable, &user);
    }
    return cli_usage("tokenfate user add NAME [--admin] | list | disable NAME");
}

/* ---- token ---- */

struct cli_token {
    const char *user, *label;
    char text[AUTH_TOKEN_TEXT_MAX], hash[HASH_HEX];
};

static int cli_token_insert(struct db_writer *writer, void *arg, struct err *err)
{
    const struct cli_token *token = arg;
    return credential_insert(writer, token->user, "token", token->hash, token->label, 0, err);
}

static int cli_token_revoke(struct db_writer *writer, void *arg, struct err *err)
{
    const struct cli_token *token = arg;
    return credential_revoke(writer, token->hash, err);
}

int cli_token(const struct settings *settings, int argc, char **argv)
{
    struct cli_token token = {0};
    struct err err;
    err_clear(&err);
    if (hash_init(&err))
        return cli_fail(&err);
    if ((argc == 2 || argc == 3) && strcmp(argv[0], "issue") == 0) {
        token.user = argv[1];
        token.label = argc == 3 ? argv[2] : "command line";
        auth_make("token", token.text, sizeof token.text, token.hash);
        int code = cli_write(settings, cli_token_insert, &token);
        if (!code)
            printf("%s\n", token.text);
        return code;
    }
    if (argc == 2 && strcmp(argv[0], "revoke") == 0) {
        hash_sha256(argv[1], strlen(argv[1]), token.hash);
        return cli_write(settings, cli_token_revoke, &token);
    }
    return cli_usage("tokenfate token issue USER [LABEL] | revoke TOKEN");
}

/* ---- backup ---- */

static int cli_backup_to(struct db_reader *reader, void *arg, struct err *err)
{
    return db_backup(reader, arg, err);
}

int cli_backup(const struct settings *settings, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage("tokenfate backup FILE");
    return cli_read(settings, cli_backup_to, argv[0]);
}
