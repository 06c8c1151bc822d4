/* old_work: counts the work of unfinished jobs that an earlier version has stored without, so that
 * their times can be told (outlook.h). serve.c calls it once, before the first request. */
#ifndef TOKENFATE_OLD_WORK_H
#define TOKENFATE_OLD_WORK_H

#include "config/err.h"
#include "db/db.h"

/* *n: jobs whose work was counted. A job of which that cannot be told is passed over. */
int old_work_count(struct db *db, struct db_reader *reader, int *n, struct err *err);

#endif
