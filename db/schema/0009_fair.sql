-- What a job has had of its devices, and what its stops have cost: milliseconds. max_seconds is the
-- limit of device_ms, 0: none. urgent is the administrator who put the job before all others.
ALTER TABLE jobs ADD COLUMN urgent TEXT;
ALTER TABLE jobs ADD COLUMN hold_requested INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN max_seconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN device_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN slices INTEGER NOT NULL DEFAULT 0;        -- times it gave way
ALTER TABLE jobs ADD COLUMN stop_start_ms INTEGER NOT NULL DEFAULT 0; -- of all its stops and starts
ALTER TABLE jobs ADD COLUMN cost_ms INTEGER NOT NULL DEFAULT 0;       -- of the last stop and start
UPDATE jobs SET max_seconds = coalesce((SELECT json_extract(spec, '$.resources.max_seconds')
    FROM job_texts WHERE job = seq), 0);
-- The order of one user's jobs for one device; between users the scheduler decides.
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (state, unread, user, device, urgent IS NULL, priority DESC, seq);

ALTER TABLE users ADD COLUMN share REAL NOT NULL DEFAULT 1 CHECK (share > 0);

-- What a user has had of one kind of device (server/queue/fair.h). Seconds.
CREATE TABLE accounts (
    user    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    virtual REAL NOT NULL,
    used    REAL NOT NULL, -- decayed until used_at
    used_at REAL NOT NULL, -- since 1970 UTC
    PRIMARY KEY (user, kind)
) STRICT, WITHOUT ROWID;

-- One row: whether jobs start.
CREATE TABLE queue (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT NOT NULL CHECK (state IN ('open', 'draining', 'paused')),
    actor TEXT NOT NULL
) STRICT;
INSERT INTO queue (id, state, actor) VALUES (1, 'open', '');

-- Changes of the queue are told too.
CREATE TABLE history_new (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    actor      TEXT    NOT NULL, -- user whose request it was; '': the server itself
    kind       TEXT    NOT NULL CHECK (kind IN ('job', 'text', 'user', 'queue')),
    object     TEXT    NOT NULL, -- id of the job, sha256 of the text, name of the user, 'queue'
    action     TEXT    NOT NULL,
    from_state TEXT,
    to_state   TEXT,
    detail     TEXT
) STRICT;
INSERT INTO history_new SELECT * FROM history;
DROP TABLE history;
ALTER TABLE history_new RENAME TO history;
CREATE INDEX history_object ON history (object, seq);
