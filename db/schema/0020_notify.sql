-- Where messages go: of all jobs of a user, of a job, or of a sweep.
CREATE TABLE notify_targets (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT    NOT NULL UNIQUE,
    user   TEXT,
    job    INTEGER REFERENCES jobs (seq) ON DELETE CASCADE,
    sweep  INTEGER REFERENCES sweeps (seq) ON DELETE CASCADE,
    url    TEXT    NOT NULL,
    events TEXT    NOT NULL CHECK (json_type(events) = 'array'),
    format TEXT    NOT NULL CHECK (format IN ('json', 'slack', 'ntfy')),
    CHECK ((user IS NOT NULL) + (job IS NOT NULL) + (sweep IS NOT NULL) = 1)
) STRICT;
CREATE INDEX notify_targets_user ON notify_targets (user) WHERE user IS NOT NULL;
CREATE INDEX notify_targets_job ON notify_targets (job) WHERE job IS NOT NULL;
CREATE INDEX notify_targets_sweep ON notify_targets (sweep) WHERE sweep IS NOT NULL;

-- Key of a user's signatures. It is needed as it is.
CREATE TABLE notify_secrets (
    user   TEXT PRIMARY KEY,
    secret TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that are still to be delivered.
CREATE TABLE notifications (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL,
    subject    TEXT    NOT NULL, -- id of the job or sweep
    user       TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    format     TEXT    NOT NULL,
    body       TEXT    NOT NULL CHECK (json_valid(body)),
    created_at INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    error      TEXT              -- of the last try
) STRICT;
CREATE INDEX notifications_due ON notifications (due_at);
CREATE INDEX notifications_user ON notifications (user);
CREATE INDEX notifications_subject ON notifications (subject);
