/* model_rows: see model_rows.h. Every offset is checked against the size of the file
 * before it is used: the file is data, not trusted input. */
#include "server/api/model_rows.h"

#include <jansson.h>
#include <string.h>

/* Clients read these errors, so they name no path of the server. */
static int map_file(const char *path, struct file_map *file, struct err *err)
{
    if (file_map_open(path, file, err) == 0)
        return 0;
    return err_set(err, err->code,
                   err->code == ERR_NOT_FOUND ? "there is no such model" : "cannot read a model");
}

/* The float32 matrix [n][C] of that name, tensor data starting at offset `data` of the
 * file; NULL: missing, of another type or shape, misaligned, or cut. */
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
        to - from != *n * *C * 4 || (uint64_t)to > rows->file.n - data)
        return NULL;
    return (const float *)((const char *)rows->file.bytes + data + from);
}

static int find_rows(struct model_rows *rows, struct err *err)
{
    uint64_t length;
    if (rows->file.n <= sizeof length)
        return err_set(err, ERR_CORRUPT, "a model of %zu bytes", rows->file.n);
    memcpy(&length, rows->file.bytes, sizeof length);
    if (length > rows->file.n - sizeof length)
        return err_set(err, ERR_CORRUPT, "a model's header of %llu bytes",
                       (unsigned long long)length);
    json_t *header = json_loadb((const char *)rows->file.bytes + sizeof length, length,
                                JSON_REJECT_DUPLICATES, NULL);
    int64_t n = 0, C = 0;
    const uint64_t data = sizeof length + length;
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
    if (map_file(path, &rows.file, err))
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
    file_map_close(&rows->file);
    *rows = (struct model_rows){0};
}
