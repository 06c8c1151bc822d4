/* api/model_rows: rows are found at the offsets of the header; a file that is cut, garbled
 * or inconsistent is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/api/model_rows.h"

static char path[] = "/tmp/tokenfate-rows-XXXXXX";

static int make_path(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* A header, padded to 8 bytes, and n numbers 0, 1, 2, ... */
static void write_file(const char *header, uint64_t claimed, int n)
{
    FILE *out = fopen(path, "wb");
    const uint64_t length = (strlen(header) + 7) / 8 * 8;
    assert_non_null(out);
    const uint64_t said = claimed ? claimed : length;
    fwrite(&said, sizeof said, 1, out);
    fprintf(out, "%-*s", (int)length, header);
    for (int i = 0; i < n; i++) {
        const float number = (float)i;
        fwrite(&number, sizeof number, 1, out);
    }
    assert_int_equal(fclose(out), 0);
}

#define WTE "\"transformer.wte.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[8,32]}"
#define HEAD "\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[32,56]}"

static void tied_and_untied(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct model_rows rows;
    write_file("{" WTE "}", 0, 14);
    assert_int_equal(model_rows_open(path, &rows, &err), 0);
    assert_ptr_equal(rows.input, rows.output);
    assert_int_equal(rows.vocab, 3);
    assert_int_equal(rows.C, 2);
    assert_true(rows.input[0] == 2 && rows.input[5] == 7);
    model_rows_close(&rows);
    write_file("{\"__metadata__\":{}," WTE "," HEAD "}", 0, 14);
    assert_int_equal(model_rows_open(path, &rows, &err), 0);
    assert_true(rows.input[0] == 2 && rows.output[0] == 8 && rows.output[5] == 13);
    model_rows_close(&rows);
    model_rows_close(&rows);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t claimed;
        int n;
    } bad[] = {
        {"{" WTE "}", 0, 7},           /* cut */
        {"{" WTE "}", 1 << 30, 14},    /* a header beyond the file */
        {"{" WTE "}", UINT64_MAX, 14}, /* ... and beyond all */
        {"{" WTE, 0, 14},              /* no JSON */
        {"{}", 0, 14},                 /* no rows */
        {"{" HEAD "}", 0, 14},         /* no input rows */
        {"{\"transformer.wte.weight\":{\"dtype\":\"F16\",\"shape\":[3,2],\"data_offsets\":[8,32]}}",
         0, 14},
        {"{\"transformer.wte.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[8,36]}}",
         0, 14},
        {"{\"transformer.wte.weight\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[8,32]}}",
         0, 14},
        {"{\"transformer.wte.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[-8,16]}"
         "}",
         0, 14},
        {"{" WTE
         ",\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[32,48]}}",
         0, 14},
        {"{" WTE "," HEAD "}", 0, 13},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = ERR_INIT;
        struct model_rows rows;
        write_file(bad[i].header, bad[i].claimed, bad[i].n);
        if (model_rows_open(path, &rows, &err) == 0)
            fail_msg("case %zu was taken", i);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

static void short_files(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 8; n++) { /* no byte of a header */
        struct err err = ERR_INIT;
        struct model_rows rows;
        FILE *out = fopen(path, "wb");
        fwrite("\0\0\0\0\0\0\0\0", 1, n, out);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(model_rows_open(path, &rows, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

static void missing_file(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct model_rows rows;
    assert_int_equal(model_rows_open("/nonexistent/model", &rows, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.message, "there is no such model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tied_and_untied),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(short_files),
        cmocka_unit_test(missing_file),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
