/* corpora: see corpora.h. A text becomes visible by rename to its address: the bytes are
 * synced before the rename and the folder after it, so that a crash leaves either no file
 * at the address or the whole text. */
#include "server/corpora.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/hash.h"
#include "config/log.h"
#include "config/text_name.h"
#include "lab/text.h"
#include "server/data.h"
#include "server/server.h"

int corpora_check_name(const char *name, struct err *err)
{
    if (text_name_check(name, "name", err))
        return -1;
    if (strlen(name) == HASH_HEX - 1 && strspn(name, "0123456789abcdefABCDEF") == HASH_HEX - 1)
        return err_field(err, "name", "\"%s\" has the form of a sha256, the address of a text",
                         name);
    if (strcmp(name, TEXT_SYNTHETIC) == 0)
        return err_field(err, "name", "\"%s\" already means something else", name);
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

int corpora_adopt(const struct settings *settings, const char *path, struct corpus *corpus,
                  struct err *err)
{
    char folder[DATA_PATH_MAX], address[DATA_PATH_MAX];
    if (corpora_check_text(path, corpus, err) ||
        data_path(settings, folder, sizeof folder, err, "corpora") ||
        data_path(settings, address, sizeof address, err, "corpora/%s", corpus->sha256) ||
        file_sync(path, err))
        return -1;
    if (rename(path, address))
        return err_set_errno(err, ERR_IO, "cannot move a text to %s", address);
    return file_sync_folder(folder, err);
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

struct corpora_row {
    struct corpus corpus;
    int created;
};

static int corpora_store(struct db_writer *writer, void *arg, struct err *err)
{
    struct corpora_row *row = arg;
    return corpus_insert(writer, &row->corpus, &row->created, err);
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
    if (corpora_copy(path, copy, err) || corpora_adopt(settings, copy, corpus, err)) {
        unlink(copy);
        return -1;
    }
    return 0;
}

static int corpora_import_one(const struct settings *settings, struct db *db, const char *name,
                              const char *path, struct err *err)
{
    struct corpora_row row = {0};
    snprintf(row.corpus.name, sizeof row.corpus.name, "%s", name);
    strcpy(row.corpus.user, SERVER_LOCAL_USER);
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
