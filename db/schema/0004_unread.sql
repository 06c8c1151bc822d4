-- Jobs whose text is not read yet: what only the tokens can tell (groups, memory, facts) is
-- stored later, and until then the job is not in the queue.
ALTER TABLE jobs ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_unread ON jobs (seq) WHERE unread;
