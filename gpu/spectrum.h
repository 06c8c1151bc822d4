/* spectrum: one number for every token of the vocabulary, on disk: mean log p (mask none) over the
 * batch of an epoch, before its update. The file has no header: V little-endian float32 in the
 * order of ids, so its size gives V. Written by train at snapshots, on its thread; read by the
 * server for plots of log p against count. */
#ifndef TOKENFATE_SPECTRUM_H
#define TOKENFATE_SPECTRUM_H

#include "config/err.h"

#define SPECTRUM_NAME "spectrum-%07lld.f32" /* file name of an epoch's spectrum */

/* Replace DIR/spectrum-NNNNNNN.f32 by n numbers, atomically (config/file.h). ERR_IO,
 * ERR_TOO_LARGE. */
int spectrum_write(const char *dir, long long epoch, const float *logp, int n, struct err *err);

#endif
