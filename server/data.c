/* data: see data.h. */
#include "server/data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"

int data_path(const struct settings *settings, char *path, size_t n, struct err *err,
              const char *format, ...)
{
    va_list args;
    int used = snprintf(path, n, "%s/", settings->data), more = 0;
    va_start(args, format);
    if (used > 0 && (size_t)used < n)
        more = vsnprintf(path + used, n - (size_t)used, format, args);
    va_end(args);
    if (used < 0 || more < 0 || (size_t)(used + more) >= n)
        return err_set(err, ERR_TOO_LARGE, "a path below %.200s has more than %zu bytes",
                       settings->data, n);
    return 0;
}

/* Says who holds the lock: the address of the server that has published one in the folder. A
 * server that starts or ends has none, nor has a command. */
static int data_taken(const struct settings *settings, struct err *err)
{
    char path[DATA_PATH_MAX], address[DATA_ADDRESS_MAX] = "";
    FILE *in = data_path(settings, path, sizeof path, NULL, "address") ? NULL : fopen(path, "re");
    if (in && fgets(address, sizeof address, in))
        address[strcspn(address, "\n")] = '\0';
    if (in)
        fclose(in);
    return err_set(err, ERR_CONFLICT, "a tokenfate server is running on %s%s%s", settings->data,
                   address[0] ? ", at " : "", address);
}

int data_lock_once(const struct settings *settings, struct err *err)
{
    char path[DATA_PATH_MAX];
    if (file_make_private(settings->data, err) ||
        data_path(settings, path, sizeof path, err, "lock"))
        return -1;
    /* Not close-on-exec: trainers inherit the lock (data.h). */
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, "cannot open %s", path);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    if (errno == EWOULDBLOCK)
        data_taken(settings, err);
    else
        err_set_errno(err, ERR_IO, "cannot lock %s", path);
    close(fd);
    return -1;
}

int data_lock(const struct settings *settings, struct err *err)
{
    int fd = data_lock_once(settings, err);
    for (int tries = 1; fd < 0 && err->code == ERR_CONFLICT && tries < DATA_LOCK_TRIES; tries++) {
        usleep(DATA_LOCK_PAUSE_US);
        err_clear(err);
        fd = data_lock_once(settings, err);
    }
    return fd;
}

int data_make_private(const struct settings *settings, unsigned *mode, struct err *err)
{
    struct stat info;
    if (stat(settings->data, &info))
        return err_set_errno(err, ERR_IO, "cannot read %s", settings->data);
    *mode = info.st_mode & 07777;
    if (!(*mode & 077) || info.st_uid != geteuid())
        return 0;
    if (chmod(settings->data, info.st_mode & 07700))
        return err_set_errno(err, ERR_IO, "cannot close %s to others", settings->data);
    return 1;
}
