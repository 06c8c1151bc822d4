/* csv: answers as CSV (RFC 4180) beside JSON: which of the two a client wants, and
 * numbers as cells. Pool threads. */
#ifndef TOKENFATE_CSV_H
#define TOKENFATE_CSV_H

#include <stdio.h>

#include "server/http/request.h"

#define CSV_TYPE "text/csv; charset=utf-8"

/* 1 for CSV: ?format=csv, else the Accept header. -1 and ERR_INVALID for a format that
 * is neither. */
int csv_wanted(struct request *request, int *csv, struct err *err);

/* A comma and a number, or nothing behind the comma where there is no value. */
void csv_write_number(FILE *out, double value);

/* An answer that was set depends on the Accept header. */
void csv_vary(struct request *request);

#endif
