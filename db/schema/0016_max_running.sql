-- How many jobs of a sweep run at once, 0: no limit. The jobs of a sweep that has a limit are a
-- lane of their own, so that they can be passed over as a whole: `capped` is its seq, else 0.
ALTER TABLE sweeps ADD COLUMN max_running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN capped INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue
    ON jobs (state, unread, blocked, user, device, capped, urgent IS NULL, priority DESC, seq);
