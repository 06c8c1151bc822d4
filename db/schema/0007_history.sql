-- Length of life that a token was given, in microseconds, 0: no end. Rotation gives the
-- next one the same; expires_at does not tell it any more once a rotation has cut it.
ALTER TABLE credentials ADD COLUMN life INTEGER NOT NULL DEFAULT 0;

-- Who changed what. A row is written in the transaction of its change and outlives the
-- object.
CREATE TABLE history (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    actor      TEXT    NOT NULL, -- user whose request it was; '': the server itself
    kind       TEXT    NOT NULL CHECK (kind IN ('job', 'text', 'user')),
    object     TEXT    NOT NULL, -- id of the job, sha256 of the text, name of the user
    action     TEXT    NOT NULL,
    from_state TEXT,
    to_state   TEXT,
    detail     TEXT
) STRICT;
CREATE INDEX history_object ON history (object, seq);
