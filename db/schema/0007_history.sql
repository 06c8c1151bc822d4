-- Length of life that a token was given, in microseconds, 0: no end. Rotation gives the
-- next one the same; expires_at does not tell it any more once a rotation has cut it.
ALTER TABLE credentials ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
