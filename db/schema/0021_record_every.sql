-- Epochs between two records of a job (train.record_every of its spec).
ALTER TABLE jobs ADD COLUMN record_every INTEGER NOT NULL DEFAULT 1;
