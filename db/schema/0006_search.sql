-- What GET /jobs?q= searches: name, notes and tags of a job as fold() makes them, separated
-- by newlines, which no folded text contains. A table of its own, because a search reads all
-- of it, and rows of jobs and job_texts are many times longer.
CREATE TABLE job_search (
    job    INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    folded TEXT    NOT NULL
) STRICT;

INSERT INTO job_search (job, folded)
SELECT seq, fold(name) || char(10) || fold(notes) || char(10)
    || coalesce((SELECT group_concat(fold(value), char(10)) FROM json_each(tags)), '')
FROM jobs JOIN job_texts ON job = seq;
