/* csv: see csv.h. */
#include "server/http/csv.h"

#include <math.h>
#include <string.h>

#include "config/emit.h"
#include "server/http/negotiate.h"

int csv_wanted(struct request *request, int *csv, struct err *err)
{
    const char *format = request_query(request, "format");
    if (format && strcmp(format, "csv") != 0 && strcmp(format, "json") != 0)
        return err_field(err, "format", "\"%.40s\" is neither json nor csv", format);
    *csv = format ? strcmp(format, "csv") == 0
                  : negotiate_prefers(request_head(request, MHD_HTTP_HEADER_ACCEPT), "text/csv",
                                      MEDIA_JSON);
    return 0;
}

void csv_write_number(FILE *out, double value)
{
    putc(',', out);
    if (isfinite(value)) {
        char text[EMIT_NUMBER_BYTES];
        emit_format(text, value);
        fputs(text, out);
    }
}

void csv_write_float(FILE *out, float value)
{
    struct emit json;
    putc(',', out);
    if (isfinite(value)) {
        emit_open(&json, out, EMIT_COMPACT); /* a single JSON number is a CSV cell too */
        emit_float(&json, NULL, value);
    }
}

void csv_vary(struct request *request)
{
    request_header(request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
}
