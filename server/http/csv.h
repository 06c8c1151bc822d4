/* csv: CSV (RFC 4180) as the alternative to JSON: the choice between the two formats, and
 * numbers as cells.
 *
 * Handlers that answer in both formats call it on pool threads. No state; writers touch
 * only the stream they get. Invariant: a cell has the digits that the same number has in
 * JSON, so both formats read back as the same value. */
#ifndef TOKENFATE_CSV_H
#define TOKENFATE_CSV_H

#include <stdio.h>

#include "server/http/request.h"

#define CSV_TYPE "text/csv; charset=utf-8"

/* *csv is 1 for CSV and 0 for JSON: ?format= decides, without it the Accept header.
 * ERR_INVALID (pointer: format) for another format. */
int csv_wanted(struct request *request, int *csv, struct err *err);

/* A comma and a number (emit_number, emit_float); an empty cell if it is not finite. */
void csv_write_number(FILE *out, double value);
void csv_write_float(FILE *out, float value);

/* Declare that the answer, already set, depends on the Accept header (Vary). */
void csv_vary(struct request *request);

#endif
