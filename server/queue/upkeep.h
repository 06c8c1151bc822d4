/* upkeep: what is to be done every hour, on a thread of its own: measure the files of all jobs,
 * store what each user's jobs take, announce and carry out what the settings say is to go (keep.h),
 * fold old days of the ledger (db/usage.h). serve.c starts and stops it. */
#ifndef TOKENFATE_UPKEEP_H
#define TOKENFATE_UPKEEP_H

#include "config/err.h"
#include "config/settings.h"
#include "db/db.h"

struct upkeep;

/* Start the thread; it begins at once. */
int upkeep_start(const struct settings *settings, struct db *db, struct upkeep **out,
                 struct err *err);
/* End the thread after the job that it is at. NULL: nothing. */
void upkeep_stop(struct upkeep *upkeep);

#endif
