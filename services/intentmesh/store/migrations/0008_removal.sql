-- Marks whose time is over are found without reading those that stand.
CREATE INDEX intent_watches_by_end ON intent_watches (until);
-- Competitions and outcomes go with their intents; those whose intents went before them never did.
DELETE FROM auctions a WHERE NOT EXISTS (SELECT FROM intents i WHERE i.intent_id = a.intent_id);
DELETE FROM outcomes o WHERE NOT EXISTS (SELECT FROM intents i WHERE i.intent_id = o.intent_id);
