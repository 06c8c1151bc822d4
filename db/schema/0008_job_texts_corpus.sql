-- A text that is deleted asks which jobs use it.
CREATE INDEX job_texts_corpus ON job_texts (corpus_sha256);
