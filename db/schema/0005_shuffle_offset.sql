-- Stored specs say where shuffled passes begin: a spec without the field is a new one,
-- which has offsets, and these jobs had none. The field has no effect on other jobs.
UPDATE job_texts SET spec = json_set(spec, '$.train.shuffle_offset',
    json(iif(json_extract(spec, '$.train.sampling') = 'shuffle', 'false', 'true')))
WHERE json_extract(spec, '$.train.sampling') IS NOT NULL;
