-- Why a job waits or is held: a code (config/reason.h) and its sentence. Only what outlasts the
-- server is stored; why a queued job does not start is computed when somebody asks.
ALTER TABLE jobs ADD COLUMN waits_code TEXT;
UPDATE jobs SET waits_code = CASE
        WHEN waits IS 'time_limit' THEN 'time_limit'
        WHEN waits LIKE 'its user % is disabled' THEN 'user_disabled'
        ELSE 'held' END,
    waits = CASE
        WHEN waits IS 'time_limit' THEN 'its max_seconds are used up'
        WHEN waits LIKE 'its user % is disabled' THEN 'its user is disabled'
        ELSE 'it is held until it is released' END
WHERE state = 'held';
UPDATE jobs SET waits = NULL WHERE state <> 'held';
