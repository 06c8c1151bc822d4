-- Deletion in short steps. The rows of `epochs` belong to a set of records instead
-- of a job, so that DELETE and retry detach a set at once and housekeeping.c removes
-- its rows later.
ALTER TABLE jobs ADD COLUMN records INTEGER NOT NULL DEFAULT 0; -- its rows in epochs
UPDATE jobs SET records = seq;

-- Drops REFERENCES jobs (seq) ON DELETE CASCADE, which deletes all rows of a job in
-- one statement, and renames the column. Stored rows keep their bytes: only the text
-- of the table changes (https://sqlite.org/lang_altertable.html, section 7; migrate.c
-- switches the defensive mode off).
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = 'CREATE TABLE epochs (
    records INTEGER NOT NULL, -- jobs.records or deletions.records
    epoch   INTEGER NOT NULL CHECK (epoch >= 0),
    record  BLOB    NOT NULL,
    tokens  BLOB    NOT NULL,
    UNIQUE (records, epoch)
) STRICT' WHERE type = 'table' AND name = 'epochs';
PRAGMA writable_schema = RESET;

-- Rows that no answer shows any more and that are still to be removed: a set of
-- records, and the events of a job up to last_event, all of them or one type.
CREATE TABLE deletions (
    seq        INTEGER PRIMARY KEY,
    records    INTEGER NOT NULL,
    job        TEXT    NOT NULL,
    events     TEXT    NOT NULL CHECK (events IN ('all', 'epoch')),
    last_event INTEGER NOT NULL
) STRICT;
CREATE INDEX deletions_job ON deletions (job);
