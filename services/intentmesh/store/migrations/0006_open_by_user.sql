-- outside a transaction: the intakes go on storing intents while the index is built.
-- What a user has open, whatever the statistics say: where nearly all intents have ended, they say that hardly any is open,
-- and then a plan that reads the open intents of everybody looks as cheap as one that reads a user's. IS TRUE keeps the
-- condition from being one of intents_by_status.

-- Left by an attempt that was cut off.
DROP INDEX CONCURRENTLY IF EXISTS intents_open_by_user;

CREATE INDEX CONCURRENTLY intents_open_by_user ON intents (user_address) WHERE (status IN (1, 2)) IS TRUE;
