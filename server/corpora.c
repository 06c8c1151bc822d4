/* corpora: see corpora.h. A text becomes visible by rename to its address: the bytes are
 * synced before the rename and the folder after it, so that a crash leaves either no file
 * at the address or the whole text. */
#include "server/corpora.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/hash.h"
#include "config/log.h"
#include "config/spec.h"
#include "config/text_name.h"
#include "db/users.h"
#include "lab/text.h"
#include "server/data.h"
#include "server/datasets.h"

int corpora_check_name(const char *name, struct err *err)
{
    if (text_name_check(name, "name", err))
        return -1;
    if (strlen(name) == HASH_HEX - 1 && strspn(name, "0123456789abcdefABCDEF") == HASH_HEX - 1)
        return err_field(err, "name", "\"%s\" has the form of a sha256, the address of a text",
                         name);
    return 0;
}

static int corpora_check_text(const char *path, struct corpus *corpus, struct err *err)
{
    struct text text = {0};
    struct stat info;
    if (stat(path, &info))
        return err_set_errno(err, ERR_IO, "cannot read %s", path);
    if (!info.st_size)
        return err_set(err, ERR_INVALID, "the text is empty");
    if (text_read(path, &text, err))
        return -1;
    int failed = text_check_utf8(text.bytes, text.n, err);
    if (!failed) {
        hash_sha256(text.bytes, text.n, corpus->sha256);
        corpus->bytes = (int64_t)text.n;
    }
    text_free(&text);
    return failed;
}

/* Take over the file at path, which is inside the data folder and has been checked: sync
 * it, rename it to its address. On failure before the rename the file stays at path. */
static int corpora_adopt(const struct settings *settings, const char *path,
                         const struct corpus *corpus, struct err *err)
{
    char folder[DATA_PATH_MAX], address[DATA_PATH_MAX];
    if (data_path(settings, folder, sizeof folder, err, "corpora") ||
        data_path(settings, address, sizeof address, err, "corpora/%s", corpus->sha256) ||
        file_sync(path, err))
        return -1;
    if (rename(path, address))
        return err_set_errno(err, ERR_IO, "cannot move a text to %s", address);
    return file_sync_folder(folder, err);
}

/* ---- reserved names ---- */

/* A name that is reserved, and that an upload has or resembles. */
struct reserved {
    char name[SPEC_CORPUS_MAX + 1];
    const struct text_known *known; /* the text it stands for; NULL: it has no address */
};

static int reserved_take(struct reserved *reserved, const char *name, const char *candidate,
                         const struct text_known *known)
{
    if (!text_name_resembles(name, candidate))
        return 0;
    snprintf(reserved->name, sizeof reserved->name, "%.*s", SPEC_CORPUS_MAX, candidate);
    reserved->known = known;
    return 1;
}

static int reserved_in_folder(struct reserved *reserved, const char *name, const char *folder)
{
    int found = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && !found && (entry = readdir(entries));)
        found = !text_name_check(entry->d_name, "name", NULL) &&
                reserved_take(reserved, name, entry->d_name, NULL);
    if (entries)
        closedir(entries);
    return found;
}

/* The names of `tokenfate run` and of uploads are one set: a text that both can name is the
 * same text. So what text_find finds is reserved, and so is what it would find. */
static int reserved_find(const struct settings *settings, const char *name,
                         struct reserved *reserved)
{
    if (reserved_take(reserved, name, TEXT_SYNTHETIC, NULL))
        return 1;
    for (const struct text_known *known = text_known; known->name; known++)
        if (reserved_take(reserved, name, known->name, known) ||
            reserved_take(reserved, name, known->file, known))
            return 1;
    for (const char *at = settings->corpus_path; *at;) {
        char folder[SETTINGS_TEXT_MAX];
        const size_t n = strcspn(at, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)n, at);
        if (n && reserved_in_folder(reserved, name, folder))
            return 1;
        at += n + (at[n] == ':');
    }
    return 0;
}

/* 1 if the text is the one that the reserved name stands for. */
static int reserved_is(const struct settings *settings, const struct reserved *reserved,
                       const struct corpus *corpus)
{
    char path[DATA_PATH_MAX];
    struct corpus file;
    struct err missing = ERR_INIT;
    if (reserved->known && strcmp(reserved->known->sha256, corpus->sha256) == 0)
        return 1;
    return !text_find(settings->corpus_path, reserved->name, path, sizeof path, &missing) &&
           !corpora_check_text(path, &file, &missing) && strcmp(file.sha256, corpus->sha256) == 0;
}

/* A reserved name takes its own text alone, in its own spelling, whoever sends it. *replace is
 * raised then: whatever the name stands for is wrong. */
static int corpora_check_reserved(const struct settings *settings, struct corpus *corpus,
                                  enum corpus_replace *replace, struct err *err)
{
    struct reserved reserved;
    if (!reserved_find(settings, corpus->name, &reserved))
        return 0;
    if (text_name_same(corpus->name, reserved.name) && reserved_is(settings, &reserved, corpus)) {
        strcpy(corpus->name, reserved.name);
        *replace = CORPUS_REPLACE_ANY;
        return 0;
    }
    return err_set(err, ERR_CONFLICT,
                   "the name \"%s\" is reserved for the text \"%s\" of this server%s%s",
                   corpus->name, reserved.name, reserved.known ? ", sha256 " : "",
                   reserved.known ? reserved.known->sha256 : "");
}

/* ---- upload ---- */

/* Rows and files of texts change together, under this mutex: a file must not be removed
 * between the upload that puts it there and the row that names it. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

struct corpora_row {
    struct corpus corpus;
    enum corpus_replace replace;
    int created;
};

static int corpora_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct corpora_row *row = arg;
    return corpus_insert(writer, &row->corpus, row->replace, &row->created, err);
}

/* Remove the file of a text that no row names. */
static void corpora_drop_unnamed(const struct settings *settings, struct db_reader *reader,
                                 const char *sha256)
{
    char address[DATA_PATH_MAX];
    struct corpus named;
    struct err err = ERR_INIT;
    if (corpus_get(reader, sha256, &named, &err) && err.code == ERR_NOT_FOUND &&
        !data_path(settings, address, sizeof address, NULL, "corpora/%s", sha256))
        unlink(address);
}

static int corpora_upload_row(const struct settings *settings, struct db *db,
                              struct db_reader *reader, const char *path, struct corpora_row *row,
                              struct err *err)
{
    if (corpora_adopt(settings, path, &row->corpus, err))
        return -1;
    if (db_call_as(db, row->corpus.user, corpora_store, row, err)) {
        corpora_drop_unnamed(settings, reader, row->corpus.sha256);
        return -1;
    }
    return corpus_get(reader, row->corpus.name, &row->corpus, err); /* as it is stored */
}

int corpora_upload(const struct settings *settings, struct db *db, struct db_reader *reader,
                   const char *path, enum corpus_replace replace, struct corpus *corpus,
                   int *created, struct err *err)
{
    struct corpora_row row = {.corpus = *corpus, .replace = replace};
    if (corpora_check_text(path, &row.corpus, err) ||
        corpora_check_reserved(settings, &row.corpus, &row.replace, err))
        return -1;
    pthread_mutex_lock(&changing);
    const int failed = corpora_upload_row(settings, db, reader, path, &row, err);
    pthread_mutex_unlock(&changing);
    if (failed)
        return -1;
    *corpus = row.corpus;
    *created = row.created;
    return 0;
}

/* ---- deletion ----
 *
 * The row goes before the file, so that no row is ever without its file. An empty file
 * .deleted-<sha256> beside the text says that it is going; it is durable before the row goes
 * and is removed after the file. The next start ends what a killed server left. */

#define CORPORA_GOING ".deleted-"

struct corpora_files {
    char folder[DATA_PATH_MAX], address[DATA_PATH_MAX], going[DATA_PATH_MAX], tokens[DATA_PATH_MAX];
};

static int corpora_files(const struct settings *settings, const char *sha256,
                         struct corpora_files *files, struct err *err)
{
    if (data_path(settings, files->folder, sizeof files->folder, err, "corpora") ||
        data_path(settings, files->address, sizeof files->address, err, "corpora/%s", sha256) ||
        datasets_folder(settings, sha256, files->tokens, sizeof files->tokens, err))
        return -1;
    return data_path(settings, files->going, sizeof files->going, err,
                     "corpora/" CORPORA_GOING "%s", sha256);
}

static int corpora_mark(const struct corpora_files *files, struct err *err)
{
    const int fd = open(files->going, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot make %s", files->going);
    close(fd);
    return file_sync_folder(files->folder, err);
}

/* Remove the files of a text without a row. What fails is tried again at the next start, which
 * finds the mark. */
static void corpora_remove(const struct corpora_files *files)
{
    struct err err = ERR_INIT;
    if ((unlink(files->address) && errno != ENOENT) || file_sync_folder(files->folder, &err))
        log_line(LOG_WARNING, "text %s is deleted, but not its file: %s", files->address,
                 strerror(errno));
    else if (file_remove_folder(files->tokens, &err))
        log_line(LOG_WARNING, "text %s is deleted, but not its tokens: %s", files->address,
                 err.message);
    else
        unlink(files->going);
}

struct corpora_deletion {
    const char *id, *user, *actor;
    int last;
};

static int corpora_delete_row(struct db_writer *writer, void *arg, struct err *err)
{
    struct corpora_deletion *deletion = arg;
    return corpus_delete(writer, deletion->id, deletion->user, &deletion->last, err);
}

/* ERR_CONFLICT for a known text of corpus_path under its own name, and for its address. */
static int corpora_check_import(const struct settings *settings, struct db_reader *reader,
                                const char *id, const struct corpus *corpus, struct err *err)
{
    const int is_address = strcmp(id, corpus->sha256) == 0;
    char path[DATA_PATH_MAX];
    for (const struct text_known *known = text_known; known->name; known++) {
        struct corpus own;
        struct err missing = ERR_INIT;
        if ((is_address || text_name_same(corpus->name, known->name)) &&
            !text_find(settings->corpus_path, known->name, path, sizeof path, &missing) &&
            !corpus_get(reader, known->name, &own, &missing) &&
            strcmp(own.sha256, corpus->sha256) == 0)
            return err_set(err, ERR_CONFLICT,
                           "\"%s\" is a text of corpus_path and would be back at the next start",
                           known->name);
    }
    return 0;
}

int corpora_is_reserved(const struct settings *settings, struct db_reader *reader,
                        const struct corpus *corpus)
{
    struct err why = ERR_INIT;
    return text_name_same(corpus->name, TEXT_SYNTHETIC) ||
           corpora_check_import(settings, reader, corpus->name, corpus, &why);
}

static int corpora_delete_marked(const struct settings *settings, struct db *db,
                                 struct db_reader *reader, struct corpora_deletion *deletion,
                                 struct err *err)
{
    struct corpora_files files;
    struct corpus corpus;
    if (corpus_get(reader, deletion->id, &corpus, err) ||
        corpora_check_import(settings, reader, deletion->id, &corpus, err) ||
        corpora_files(settings, corpus.sha256, &files, err) || corpora_mark(&files, err))
        return -1;
    const int failed = db_call_as(db, deletion->actor, corpora_delete_row, deletion, err);
    if (!failed && deletion->last)
        corpora_remove(&files);
    else
        unlink(files.going);
    return failed;
}

int corpora_delete(const struct settings *settings, struct db *db, struct db_reader *reader,
                   const char *id, const char *user, const char *actor, struct err *err)
{
    struct corpora_deletion deletion = {.id = id, .user = user, .actor = actor};
    if (text_name_same(id, TEXT_SYNTHETIC))
        return err_set(err, ERR_CONFLICT, "\"%s\" is built in", id);
    pthread_mutex_lock(&changing);
    const int failed = corpora_delete_marked(settings, db, reader, &deletion, err);
    pthread_mutex_unlock(&changing);
    return failed;
}

static int corpora_sweep_one(const struct settings *settings, struct db_reader *reader,
                             const char *sha256, struct err *err)
{
    struct corpora_files files;
    struct corpus corpus;
    struct err missing = ERR_INIT;
    if (corpora_files(settings, sha256, &files, err))
        return -1;
    if (!corpus_get(reader, sha256, &corpus, &missing))
        unlink(files.going);
    else if (missing.code == ERR_NOT_FOUND)
        corpora_remove(&files);
    return 0;
}

static int corpora_sweep(const struct settings *settings, struct db *db, struct err *err)
{
    char folder[DATA_PATH_MAX];
    struct db_reader *reader = NULL;
    if (data_path(settings, folder, sizeof folder, err, "corpora") ||
        db_reader_open(db, &reader, err))
        return -1;
    int result = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && !result && (entry = readdir(entries));)
        if (strncmp(entry->d_name, CORPORA_GOING, sizeof CORPORA_GOING - 1) == 0)
            result =
                corpora_sweep_one(settings, reader, entry->d_name + sizeof CORPORA_GOING - 1, err);
    if (entries)
        closedir(entries);
    db_reader_close(reader);
    return result;
}

/* ---- known texts ---- */

static int corpora_copy(const char *from, const char *to, struct err *err)
{
    struct stat info;
    int result = 0, in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    if (in < 0 || fstat(in, &info)) {
        result = err_set_errno(err, ERR_IO, "cannot read %s", from);
        goto out;
    }
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) {
        result = err_set_errno(err, ERR_IO, "cannot make %s", to);
        goto out;
    }
    for (off_t left = info.st_size; left > 0 && !result;) {
        ssize_t n = sendfile(out, in, NULL, (size_t)left);
        if (n <= 0)
            result = err_set_errno(err, ERR_IO, "cannot copy %s", from);
        left -= n;
    }
out:
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) && !result)
        result = err_set_errno(err, ERR_IO, "cannot write %s", to);
    return result;
}

/* 1 if the text is stored already; then importing it at start-up writes nothing. */
static int corpora_is_stored(const struct settings *settings, const struct corpus *corpus)
{
    char address[DATA_PATH_MAX];
    struct stat info;
    return !data_path(settings, address, sizeof address, NULL, "corpora/%s", corpus->sha256) &&
           !stat(address, &info) && (int64_t)info.st_size == corpus->bytes;
}

static int corpora_import_file(const struct settings *settings, const char *path,
                               struct corpus *corpus, struct err *err)
{
    char copy[DATA_PATH_MAX];
    if (corpora_check_text(path, corpus, err))
        return -1;
    if (corpora_is_stored(settings, corpus))
        return 0;
    if (data_path(settings, copy, sizeof copy, err, "corpora/.import-%s", corpus->name))
        return -1;
    if (corpora_copy(path, copy, err) || corpora_check_text(copy, corpus, err) ||
        corpora_adopt(settings, copy, corpus, err)) {
        unlink(copy);
        return -1;
    }
    return 0;
}

static int corpora_import_one(const struct settings *settings, struct db *db, const char *name,
                              const char *path, struct err *err)
{
    struct corpora_row row = {.replace = CORPUS_REPLACE_ANY};
    snprintf(row.corpus.name, sizeof row.corpus.name, "%s", name);
    strcpy(row.corpus.user, USER_LOCAL);
    if (corpora_import_file(settings, path, &row.corpus, err) ||
        db_call(db, corpora_store, &row, err))
        return -1;
    if (row.created)
        log_line(LOG_INFO, "text %s: %s, %lld bytes, sha256 %s", name, path,
                 (long long)row.corpus.bytes, row.corpus.sha256);
    return 0;
}

int corpora_import(const struct settings *settings, struct db *db, struct err *err)
{
    char path[DATA_PATH_MAX];
    if (corpora_sweep(settings, db, err))
        return -1;
    for (const struct text_known *known = text_known; known->name; known++) {
        struct err missing = ERR_INIT;
        if (text_find(settings->corpus_path, known->name, path, sizeof path, &missing)) {
            log_line(LOG_INFO, "%s", missing.message);
            continue;
        }
        if (corpora_import_one(settings, db, known->name, path, err))
            return err_prefix(err, "text %s", known->name);
    }
    return 0;
}
