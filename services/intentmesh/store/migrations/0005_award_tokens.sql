-- What the winner of an award is shown, so that it can tell the mesh's call from a stranger's.
ALTER TABLE awards
    ADD COLUMN token bytea NOT NULL DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
        CHECK (octet_length(token) = 32);
-- The default was for the awards that stood already.
ALTER TABLE awards ALTER COLUMN token DROP DEFAULT;
