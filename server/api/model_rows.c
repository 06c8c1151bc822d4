/* model_rows: see model_rows.h. Every offset is checked against the file's size
 * before it is followed. */
#include "server/api/model_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_file(const char *path, struct model_rows *rows, struct err *err)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no such model")
                               : err_set_errno(err, ERR_IO, "cannot open a model");
    int result = fstat(fd, &info);
    if (result == 0 && info.st_size > 8) {
        rows->n = (size_t)info.st_size;
        rows->map = mmap(NULL, rows->n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (rows->map == MAP_FAILED) {
            rows->map = NULL;
            result = -1;
        }
    }
    if (result)
        err_set_errno(err, ERR_IO, "cannot read a model");
    close(fd);
    if (!result && !rows->map)
        result = err_set(err, ERR_CORRUPT, "a model of %lld bytes", (long long)info.st_size);
    return result;
}

/* The float32 matrix of that name in the file; NULL: not there, or not whole. */
static const float *find_matrix(const struct model_rows *rows, const json_t *header, uint64_t data,
                                const char *name, int64_t *n, int64_t *C)
{
    const json_t *tensor = json_object_get(header, name);
    const json_t *shape = json_object_get(tensor, "shape"),
                 *offsets = json_object_get(tensor, "data_offsets");
    const char *type = json_string_value(json_object_get(tensor, "dtype"));
    const json_int_t from = json_integer_value(json_array_get(offsets, 0)),
                     to = json_integer_value(json_array_get(offsets, 1));
    *n = json_integer_value(json_array_get(shape, 0));
    *C = json_integer_value(json_array_get(shape, 1));
    if (!type || strcmp(type, "F32") != 0 || json_array_size(shape) != 2 || *n < 1 ||
        *n > INT32_MAX || *C < 1 || *C > INT32_MAX || from < 0 || from % 4 != 0 ||
        to - from != *n * *C * 4 || (uint64_t)to > rows->n - data)
        return NULL;
    return (const float *)((const char *)rows->map + data + from);
}

static int find_rows(struct model_rows *rows, struct err *err)
{
    uint64_t length;
    memcpy(&length, rows->map, sizeof length);
    if (length > rows->n - 8)
        return err_set(err, ERR_CORRUPT, "a model's header of %llu bytes",
                       (unsigned long long)length);
    json_t *header = json_loadb((const char *)rows->map + 8, length, JSON_REJECT_DUPLICATES, NULL);
    int64_t n = 0, C = 0;
    const uint64_t data = 8 + length;
    rows->input = data % 4 == 0 ? find_matrix(rows, header, data, "transformer.wte.weight",
                                              &rows->vocab, &rows->C)
                                : NULL;
    rows->output = rows->input;
    if (rows->input && json_object_get(header, "lm_head.weight"))
        rows->output = find_matrix(rows, header, data, "lm_head.weight", &n, &C);
    const int untied = rows->output != rows->input;
    json_decref(header);
    if (!rows->output || (untied && (n != rows->vocab || C != rows->C)))
        return err_set(err, ERR_CORRUPT, "a model without its embedding rows");
    return 0;
}

int model_rows_open(const char *path, struct model_rows *out, struct err *err)
{
    struct model_rows rows = {0};
    if (map_file(path, &rows, err))
        return -1;
    if (find_rows(&rows, err)) {
        model_rows_close(&rows);
        return -1;
    }
    *out = rows;
    return 0;
}

void model_rows_close(struct model_rows *rows)
{
    if (rows->map)
        munmap(rows->map, rows->n);
    *rows = (struct model_rows){0};
}
