-- A job that is pinned loses nothing by itself.
ALTER TABLE jobs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;

-- What is to go of jobs that have ended. A row is written some days before it is carried out.
CREATE TABLE retention (
    job          INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    part         TEXT    NOT NULL CHECK (part IN ('state', 'models', 'job')),
    bytes        INTEGER NOT NULL,
    announced_at INTEGER NOT NULL, -- microseconds
    due_at       INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL, -- by the pass that found it last
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;

-- Is there a job that starts from this one?
CREATE INDEX job_texts_source ON job_texts (json_extract(spec, '$.init_from'));
