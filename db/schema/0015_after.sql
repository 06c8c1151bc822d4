-- A job that waits for others to end. `blocked` counts those that have not ended as the job wants,
-- so that a pass of the scheduler does not meet the jobs that wait; 0 once the job has started.
CREATE TABLE job_after (
    job   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE, -- that waits
    needs INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    state TEXT    NOT NULL CHECK (state IN ('succeeded', 'any')),
    PRIMARY KEY (job, needs)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_after_needs ON job_after (needs, job);

ALTER TABLE jobs ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue
    ON jobs (state, unread, blocked, user, device, urgent IS NULL, priority DESC, seq);
