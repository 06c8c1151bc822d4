/* backup: see backup.h.
 *
 * Order of a backup beside a running server. Every file is written before the row that names
 * it, and goes after that row. So the database is copied between two rounds of the files: the
 * first one takes what is deleted meanwhile, the second one what is written meanwhile. A file
 * that slips through both (written and deleted again between them) is missed when the files
 * that the copied database names are looked up, and the database and the second round are made
 * anew. A running job's checkpoint may be newer than its records in the copy: the trainer
 * passes over such a one (docs/trainer-protocol.md). */
#include "server/cli/backup.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/spec.h"
#include "db/corpora.h"
#include "db/db.h"
#include "db/jobs.h"
#include "server/cli/mirror.h"
#include "server/data.h"

enum {
    BACKUP_ROUNDS = 5,        /* of database and files, until no file is missed */
    BACKUP_PAGE = 100,        /* jobs read at a time; each has its spec and facts */
    BACKUP_MISSING_SHOWN = 20 /* files named on stderr; more are counted */
};

#define BACKUP_DATABASE "tokenfate.db"
#define BACKUP_UNFINISHED "tokenfate.db.new"

static int backup_fail(const struct err *err)
{
    fprintf(stderr, "tokenfate: %s\n", err->message);
    return 1;
}

static int backup_path(char *path, const char *folder, const char *name, struct err *err)
{
    if (snprintf(path, DATA_PATH_MAX, "%s/%s", folder, name) >= DATA_PATH_MAX)
        return err_set(err, ERR_TOO_LARGE, "a path below %.200s has more than %d bytes", folder,
                       DATA_PATH_MAX);
    return 0;
}

/* ERR_CONFLICT if the folder has an entry but for `lock`; a missing folder is empty. */
static int backup_check_empty(const char *folder, struct err *err)
{
    DIR *entries = opendir(folder);
    int result = 0;
    if (!entries)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, "cannot read %s", folder);
    for (struct dirent *entry; !result && (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lock") != 0)
            result =
                err_set(err, ERR_CONFLICT, "%s is not empty: it has %s", folder, entry->d_name);
    closedir(entries);
    return result;
}

/* ---- what a database names ---- */

struct named {
    const char *folder;
    struct db_reader *reader;
    int jobs, texts, missing;
    int is_quiet; /* missing files are counted only */
};

static void named_look(struct named *named, int64_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* bytes: size of the file, -1: any. */
static void named_look(struct named *named, int64_t bytes, const char *format, ...)
{
    char name[128], path[DATA_PATH_MAX];
    struct stat info;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (!backup_path(path, named->folder, name, NULL) && stat(path, &info) == 0 &&
        (bytes < 0 || info.st_size == bytes))
        return;
    if (named->missing++ < BACKUP_MISSING_SHOWN && !named->is_quiet)
        fprintf(stderr, "tokenfate: %s is missing or not whole\n", name);
}

static int named_text(void *self, const struct corpus *corpus)
{
    struct named *named = self;
    named->texts++;
    named_look(named, corpus->bytes, "corpora/%s", corpus->sha256);
    return 0;
}

static void named_model(struct named *named, const char *id, int64_t epoch)
{
    named_look(named, -1, "jobs/%s/model/epoch-%07lld.safetensors", id, (long long)epoch);
    named_look(named, -1, "jobs/%s/model/spectrum-%07lld.f32", id, (long long)epoch);
}

/* A job that has succeeded has its models. Others go on without a checkpoint, from epoch 0. */
static int named_job(struct named *named, const struct job *job, struct err *err)
{
    struct spec *spec = NULL;
    named->jobs++;
    if (job->state != JOB_SUCCEEDED)
        return 0;
    if (spec_parse(job->spec, strlen(job->spec), &spec, err))
        return err_prefix(err, "job %s", job->id);
    named_look(named, -1, "jobs/%s/model/config.json", job->id);
    for (int i = 0; i < spec->train.n_snapshots; i++)
        named_model(named, job->id, spec->train.snapshots[i]);
    named_model(named, job->id, job->epochs);
    spec_free(spec);
    return 0;
}

static int named_jobs(struct named *named, struct err *err)
{
    struct job_filter filter = {.limit = BACKUP_PAGE};
    struct job **jobs = NULL;
    int n = BACKUP_PAGE, result = 0;
    while (!result && n == BACKUP_PAGE) {
        if (job_list(named->reader, &filter, &jobs, &n, err))
            return -1;
        for (int i = 0; i < n; i++) {
            if (!result)
                result = named_job(named, jobs[i], err);
            filter.before_seq = jobs[i]->seq;
            job_free(jobs[i]);
        }
        free(jobs);
    }
    return result;
}

/* Look up the files below named->folder that the reader's database names. */
static int named_check(struct named *named, struct err *err)
{
    named->jobs = named->texts = named->missing = 0;
    if (corpus_list(named->reader, named_text, named, err) || named_jobs(named, err))
        return -1;
    if (named->missing > BACKUP_MISSING_SHOWN && !named->is_quiet)
        fprintf(stderr, "tokenfate: %d files are missing in all\n", named->missing);
    return 0;
}

/* ---- backup ---- */

struct backup {
    const struct settings *settings;
    const char *folder;
    struct mirror mirror;
    struct named named;
};

static int backup_database(const struct settings *settings, const char *to, struct err *err)
{
    char path[DATA_PATH_MAX];
    struct db_reader *reader = NULL;
    unlink(to);
    const int failed = data_path(settings, path, sizeof path, err, BACKUP_DATABASE) ||
                       db_reader_open_path(path, &reader, err) || db_backup(reader, to, err);
    db_reader_close(reader);
    return failed ? -1 : 0;
}

/* Remove the entries of one folder that the copied database does not name: what was deleted
 * between the first round and the copy. */
static int backup_prune(struct backup *backup, const char *name,
                        int (*find)(struct db_reader *reader, const char *id, struct err *err),
                        struct err *err)
{
    char folder[DATA_PATH_MAX], path[DATA_PATH_MAX];
    if (backup_path(folder, backup->folder, name, err))
        return -1;
    int result = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && !result && (entry = readdir(entries));) {
        struct err missing = ERR_INIT;
        if (entry->d_name[0] == '.' || !find(backup->named.reader, entry->d_name, &missing))
            continue;
        if (missing.code != ERR_NOT_FOUND) {
            *err = missing;
            result = -1;
        } else {
            result = backup_path(path, folder, entry->d_name, err) ||
                             (unlink(path) && file_remove_folder(path, err))
                         ? -1
                         : 0;
        }
    }
    if (entries)
        closedir(entries);
    return result;
}

static int backup_find_text(struct db_reader *reader, const char *id, struct err *err)
{
    struct corpus corpus;
    return corpus_get(reader, id, &corpus, err);
}

static int backup_find_job(struct db_reader *reader, const char *id, struct err *err)
{
    struct job *job = NULL;
    const int failed = job_get(reader, id, &job, err);
    job_free(job);
    return failed;
}

/* The database, the second round of files, and the look at what is missed. `last`: what is
 * missed is named, for it will not be looked for again. */
static int backup_round(struct backup *backup, const char *database, int last, struct err *err)
{
    if (backup_database(backup->settings, database, err) ||
        mirror_run(&backup->mirror, backup->settings->data, backup->folder, err) ||
        db_reader_open_path(database, &backup->named.reader, err))
        return -1;
    backup->named.is_quiet = !last;
    int failed = named_check(&backup->named, err);
    if (!failed && (last || !backup->named.missing))
        failed = backup_prune(backup, "corpora", backup_find_text, err) ||
                 backup_prune(backup, "jobs", backup_find_job, err);
    db_reader_close(backup->named.reader);
    return failed ? -1 : 0;
}

/* ERR_INVALID if the backup's folder, which exists, lies in the folder that it is of. */
static int backup_check_outside(const struct settings *settings, const char *folder,
                                struct err *err)
{
    char data[PATH_MAX], real[PATH_MAX];
    if (!realpath(settings->data, data))
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", settings->data);
    if (!realpath(folder, real))
        return err_set_errno(err, ERR_IO, "%s", folder);
    const size_t n = strlen(data);
    if (strncmp(real, data, n) != 0 || (real[n] && real[n] != '/'))
        return 0;
    rmdir(real); /* made for this backup, unless it has entries */
    return err_set(err, ERR_INVALID, "%s lies in the data folder %s", folder, data);
}

/* Before anything is made: is the database one that can be copied, and the folder a place for
 * the copy? */
static int backup_check(const struct backup *backup, struct err *err)
{
    char path[DATA_PATH_MAX];
    struct db_reader *reader = NULL;
    if (data_path(backup->settings, path, sizeof path, err, BACKUP_DATABASE) ||
        db_reader_open_path(path, &reader, err))
        return -1;
    db_reader_close(reader);
    return backup_check_empty(backup->folder, err) || file_make_private(backup->folder, err) ||
                   backup_check_outside(backup->settings, backup->folder, err)
               ? -1
               : 0;
}

static int backup_make(struct backup *backup, struct err *err)
{
    char unfinished[DATA_PATH_MAX], database[DATA_PATH_MAX];
    if (backup_path(unfinished, backup->folder, BACKUP_UNFINISHED, err) ||
        backup_path(database, backup->folder, BACKUP_DATABASE, err) ||
        mirror_run(&backup->mirror, backup->settings->data, backup->folder, err))
        return -1;
    backup->named.missing = 1;
    for (int round = 1; backup->named.missing && round <= BACKUP_ROUNDS; round++)
        if (backup_round(backup, unfinished, round == BACKUP_ROUNDS, err))
            return -1;
    if (file_sync_all(backup->folder, err))
        return -1;
    if (rename(unfinished, database))
        return err_set_errno(err, ERR_IO, "cannot rename %s", unfinished);
    return file_sync_folder(backup->folder, err);
}

static int backup_tell(const struct mirror *mirror, const struct named *named, const char *folder)
{
    printf("%s: %d jobs, %d texts; %lld files linked, %lld copied (%.1f MB)\n", folder, named->jobs,
           named->texts, (long long)mirror->linked, (long long)mirror->copied,
           (double)mirror->bytes * 1e-6);
    return named->missing ? 1 : 0;
}

int backup_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc != 1) {
        fprintf(stderr, "usage: tokenfate backup DIR\n");
        return 2;
    }
    struct backup backup = {.settings = settings, .folder = argv[0], .named.folder = argv[0]};
    if (backup_check(&backup, &err))
        return backup_fail(&err);
    if (backup_make(&backup, &err)) { /* the folder was empty: half a backup helps nobody */
        file_clear_folder(argv[0], NULL, NULL);
        return backup_fail(&err);
    }
    return backup_tell(&backup.mirror, &backup.named, argv[0]);
}

/* ---- restore ---- */

/* Bring everything to the data folder, the database last: it is copied, because it changes in
 * place. */
static int restore_files(const struct settings *settings, const char *folder, struct mirror *mirror,
                         struct err *err)
{
    char from[DATA_PATH_MAX], unfinished[DATA_PATH_MAX], database[DATA_PATH_MAX];
    if (backup_path(from, folder, BACKUP_DATABASE, err) ||
        data_path(settings, unfinished, sizeof unfinished, err, BACKUP_UNFINISHED) ||
        data_path(settings, database, sizeof database, err, BACKUP_DATABASE) ||
        mirror_run(mirror, folder, settings->data, err) || file_copy(from, unfinished, err) ||
        file_sync_all(settings->data, err))
        return -1;
    if (rename(unfinished, database))
        return err_set_errno(err, ERR_IO, "cannot rename %s", unfinished);
    return file_sync_folder(settings->data, err);
}

/* Open the database, which brings an older one up to this program, and look up its files. */
static int restore_check(const struct settings *settings, struct named *named, struct err *err)
{
    char path[DATA_PATH_MAX];
    struct db *db = NULL;
    int failed = data_path(settings, path, sizeof path, err, BACKUP_DATABASE) ||
                 db_open(path, &db, err) || db_reader_open(db, &named->reader, err) ||
                 named_check(named, err);
    db_reader_close(named->reader);
    db_close(db);
    return failed ? -1 : 0;
}

static int restore_check_source(const char *folder, struct err *err)
{
    char path[DATA_PATH_MAX];
    if (backup_path(path, folder, BACKUP_DATABASE, err))
        return -1;
    if (access(path, R_OK))
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                             "%s is no backup, or one that was not finished: %s", folder,
                             BACKUP_DATABASE);
    return 0;
}

/* The folder was empty, so what a restore that failed has put there goes again. */
int restore_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct mirror mirror = {0};
    struct named named = {.folder = settings->data};
    if (argc != 1) {
        fprintf(stderr, "usage: tokenfate restore DIR\n");
        return 2;
    }
    if (restore_check_source(argv[0], &err))
        return backup_fail(&err);
    const int lock = data_lock_once(settings, &err);
    if (lock < 0)
        return backup_fail(&err);
    int failed = backup_check_empty(settings->data, &err);
    if (!failed && (restore_files(settings, argv[0], &mirror, &err) ||
                    restore_check(settings, &named, &err))) {
        failed = -1;
        file_clear_folder(settings->data, "lock", NULL);
    }
    close(lock);
    return failed ? backup_fail(&err) : backup_tell(&mirror, &named, settings->data);
}
