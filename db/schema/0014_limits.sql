-- What one user may have (db/limits.h); without a row the site's setting holds. 0: no limit.
CREATE TABLE user_limits (
    user  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    value INTEGER NOT NULL CHECK (value >= 0),
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;

-- Milliseconds that a user has held devices in an hour since 1970 UTC; a week of them is kept.
CREATE TABLE device_use (
    user TEXT    NOT NULL,
    hour INTEGER NOT NULL,
    ms   INTEGER NOT NULL,
    PRIMARY KEY (user, hour)
) STRICT, WITHOUT ROWID;

-- Bytes that the jobs of a user store: their rows of `epochs`, and their files as measured. The
-- triggers keep the sum.
CREATE TABLE user_bytes (
    user  TEXT    PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO user_bytes (user, bytes) SELECT user, sum(record_bytes + file_bytes) FROM jobs GROUP BY user;

CREATE TRIGGER jobs_bytes_changed AFTER UPDATE OF record_bytes, file_bytes ON jobs
BEGIN
    INSERT INTO user_bytes (user, bytes) VALUES (new.user, new.record_bytes + new.file_bytes
        - old.record_bytes - old.file_bytes)
    ON CONFLICT (user) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER jobs_bytes_deleted AFTER DELETE ON jobs
BEGIN
    UPDATE user_bytes SET bytes = bytes - old.record_bytes - old.file_bytes
    WHERE user = old.user;
END;
