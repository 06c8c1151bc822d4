-- Whether a job may be deleted asks which jobs start from its model.
CREATE INDEX job_texts_init_from ON job_texts (json_extract(spec, '$.init_from'))
    WHERE json_extract(spec, '$.init_from') IS NOT NULL;
