-- The account of this machine that is the user: its uid. NULL: none.
ALTER TABLE users ADD COLUMN uid INTEGER;
CREATE UNIQUE INDEX users_uid ON users (uid) WHERE uid IS NOT NULL;
