-- Times that a job found too little memory when it was opened, since it last had enough.
ALTER TABLE jobs ADD COLUMN shortages INTEGER NOT NULL DEFAULT 0;
