-- Sweeps: jobs that were submitted together. A job knows its sweep and what of
-- the spec was varied for it; a sweep without jobs is dropped with its last one.
CREATE TABLE sweeps (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    user         TEXT    NOT NULL,
    submitted_at INTEGER NOT NULL,
    base         TEXT    NOT NULL CHECK (json_valid(base)), -- the spec as posted
    vary         TEXT    NOT NULL CHECK (json_type(vary) = 'object')
) STRICT;

ALTER TABLE jobs ADD COLUMN sweep INTEGER REFERENCES sweeps (seq);
CREATE INDEX jobs_sweep ON jobs (sweep) WHERE sweep IS NOT NULL;

-- Varied fields and their values for this job, {"train.seed": 2}.
ALTER TABLE job_texts ADD COLUMN setting TEXT CHECK (setting IS NULL OR json_valid(setting));
