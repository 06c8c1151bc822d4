-- Verdicts of GPUs that were compared with the reference, by all that a verdict holds for.
CREATE TABLE proofs (
    identity   TEXT NOT NULL,
    precision  TEXT NOT NULL,
    passed     INTEGER NOT NULL,
    started_at INTEGER NOT NULL, -- microseconds
    ms         INTEGER NOT NULL,
    checks     INTEGER NOT NULL,
    worst      TEXT NOT NULL,    -- the check that came nearest to its bound, or ''
    error      REAL,
    bound      REAL,
    library    TEXT NOT NULL,
    reason     TEXT NOT NULL,    -- why it has not passed, or what it has passed without; ''
    PRIMARY KEY (identity, precision)
) STRICT, WITHOUT ROWID;
