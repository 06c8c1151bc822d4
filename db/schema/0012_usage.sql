-- What jobs have had of the devices and how they ended, by day (UTC, days since 1970). Rows are
-- written in the transaction of what they tell, and outlive the job.
CREATE TABLE usage (
    day       INTEGER NOT NULL,
    job       TEXT    NOT NULL,           -- id; '': jobs of a user on a day that is long ago
    user      TEXT    NOT NULL,
    device    TEXT    NOT NULL,           -- id; of a job that never started, the one it asked for
    device_ms INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0, -- times that it ended so
    failed    INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    jobs      INTEGER NOT NULL DEFAULT 1, -- in this row
    PRIMARY KEY (day, job, user, device)
) STRICT, WITHOUT ROWID;

-- What the jobs of a user took, as measured last on a day.
CREATE TABLE usage_stored (
    day   INTEGER NOT NULL,
    user  TEXT    NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (day, user)
) STRICT, WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN record_bytes INTEGER NOT NULL DEFAULT 0; -- of its rows in epochs
ALTER TABLE jobs ADD COLUMN file_bytes INTEGER NOT NULL DEFAULT 0;   -- of its folder, as measured
UPDATE jobs SET record_bytes = coalesce((SELECT sum(length(record) + length(tokens)) FROM epochs
    WHERE epochs.records = jobs.records), 0);

INSERT INTO usage (day, job, user, device, device_ms, succeeded, failed, cancelled)
SELECT coalesce(nullif(finished_at, 0), nullif(started_at, 0), submitted_at) / 86400000000, id, user,
    device, device_ms, state = 'succeeded', state = 'failed', state = 'cancelled'
FROM jobs WHERE device_ms > 0 OR state IN ('succeeded', 'failed', 'cancelled');
