-- What a job computes: its shape (lab/cost.h) and billions of operations of an epoch.
CREATE TABLE job_work (
    job   INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    shape TEXT NOT NULL,
    cost  REAL NOT NULL
) STRICT;

-- Measured: logarithm of the seconds of a billion operations, of jobs of a shape on a device.
CREATE TABLE step_times (
    shape    TEXT NOT NULL,
    device   TEXT NOT NULL,
    weight   REAL NOT NULL, -- of all that was measured
    mean     REAL NOT NULL,
    variance REAL NOT NULL,
    start    REAL NOT NULL, -- seconds from the claim to the first record
    stop     REAL NOT NULL, -- seconds from the last record to the end
    PRIMARY KEY (shape, device)
) STRICT, WITHOUT ROWID;
