-- The first schema. Never edited once it has landed: a change is the next
-- migration. Times are microseconds since 1970 UTC, 0 = not yet.

-- The queue. Only what changes while a job runs: a row is rewritten with every
-- few epochs, so the long texts stand in job_texts.
CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    name             TEXT    NOT NULL,
    tags             TEXT    NOT NULL CHECK (json_type(tags) = 'array'),
    user             TEXT    NOT NULL, -- "local" needs no row in users
    state            TEXT    NOT NULL CHECK (state IN
                     ('queued', 'held', 'running', 'succeeded', 'failed', 'cancelled')),
    priority         INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 1,
    faults           INTEGER NOT NULL DEFAULT 0, -- of trainers, since submission or retry
    max_attempts     INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    submitted_at     INTEGER NOT NULL,
    started_at       INTEGER NOT NULL DEFAULT 0,
    finished_at      INTEGER NOT NULL DEFAULT 0,
    epoch            INTEGER NOT NULL DEFAULT -1,
    epochs           INTEGER NOT NULL,
    loss             REAL,                       -- of the last epoch, if finite
    device_asked     TEXT    NOT NULL,
    device           TEXT    NOT NULL,           -- asked for, then the one it runs on
    precision        TEXT    NOT NULL,
    memory_bytes     INTEGER NOT NULL,
    error            TEXT,
    waits            TEXT,
    n_groups         INTEGER NOT NULL,
    n_tokens         INTEGER NOT NULL,
    record_scalars   INTEGER NOT NULL DEFAULT 0, -- layout of its epochs, set by the first
    record_fields    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_queue ON jobs (state, priority DESC, seq);

CREATE TABLE job_texts (
    job           INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    notes         TEXT NOT NULL,
    spec          TEXT NOT NULL CHECK (json_valid(spec)),
    facts         TEXT NOT NULL CHECK (json_valid(facts)),
    group_names   TEXT NOT NULL,
    corpus_sha256 TEXT NOT NULL,
    provenance    TEXT CHECK (provenance IS NULL OR json_valid(provenance))
) STRICT;

CREATE TABLE idempotency (
    user        TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    body_sha256 TEXT    NOT NULL,
    job         INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_job ON idempotency (job);

-- record: float64, little-endian; tokens: float32, little-endian.
CREATE TABLE epochs (
    job    INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    record BLOB    NOT NULL,
    tokens BLOB    NOT NULL,
    UNIQUE (job, epoch)
) STRICT;

CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    type        TEXT    NOT NULL CHECK (type IN ('job', 'epoch', 'device')),
    job         TEXT    NOT NULL, -- '' for a device; may outlive the job
    epoch_first INTEGER NOT NULL,
    epoch_last  INTEGER NOT NULL,
    data        TEXT
) STRICT;
CREATE INDEX events_job ON events (job);

-- One row for each name and text; the row with the largest seq is what a name
-- means.
CREATE TABLE corpora (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256     TEXT    NOT NULL CHECK (length(sha256) = 64),
    name       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    user       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (name, sha256)
) STRICT;
CREATE INDEX corpora_sha256 ON corpora (sha256);

CREATE TABLE users (
    name       TEXT    PRIMARY KEY,
    admin      INTEGER NOT NULL,
    disabled   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
    hash       TEXT    PRIMARY KEY, -- hex SHA-256 of the secret
    user       TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'session')),
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL     -- 0: never
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_user ON credentials (user);
