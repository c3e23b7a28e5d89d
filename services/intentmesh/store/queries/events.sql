-- name: read_events
-- Events of one intent after a sequence.
SELECT sequence, payload FROM intent_events WHERE intent_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3;

-- name: lead_feed
-- One transaction at a time stamps; whoever comes second leaves it to the first.
SELECT pg_try_advisory_xact_lock(hashtextextended('intentmesh.feed', 0));

-- name: stamp_feed
-- Gives positions to events in event-id order, up to the first one whose transaction is not below the horizon. Going past
-- it is wrong even where its successors are below: a row that was locked late has an older transaction than the event
-- before it.
WITH pending AS MATERIALIZED (
    SELECT event_id, xid FROM intent_events WHERE feed_position IS NULL ORDER BY event_id LIMIT $1
), ready AS (
    SELECT event_id, row_number() OVER (ORDER BY event_id) AS place FROM pending
    WHERE event_id < coalesce(
        (SELECT min(event_id) FROM pending WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())), 9223372036854775807)
), advanced AS (
    UPDATE feed SET last_position = last_position + (SELECT count(*) FROM ready)
    WHERE EXISTS (SELECT FROM ready)
    RETURNING last_position - (SELECT count(*) FROM ready) AS base
)
UPDATE intent_events e SET feed_position = advanced.base + ready.place
FROM ready, advanced
WHERE e.event_id = ready.event_id;

-- name: stamp_all
-- After a restore, where transaction ids mean nothing: positions for whatever has none, in event-id order.
WITH ready AS (
    SELECT event_id, row_number() OVER (ORDER BY event_id) AS place FROM intent_events WHERE feed_position IS NULL
), advanced AS (
    UPDATE feed SET last_position = last_position + (SELECT count(*) FROM ready), epoch = gen_random_uuid()
    RETURNING last_position - (SELECT count(*) FROM ready) AS base
)
UPDATE intent_events e SET feed_position = advanced.base + ready.place
FROM ready, advanced
WHERE e.event_id = ready.event_id;

-- name: read_feed
-- The feed after a position.
SELECT feed_position, payload FROM intent_events WHERE feed_position > $1 ORDER BY feed_position LIMIT $2;

-- name: read_feed_of
-- What the feed tells of some intents between two positions, the second one included.
SELECT feed_position, payload FROM intent_events
WHERE intent_id = ANY($1::bytea[]) AND feed_position > $2 AND feed_position <= $3
ORDER BY feed_position LIMIT $4;

-- name: feed_state
-- Epoch and bounds of the feed.
SELECT epoch, first_position, last_position FROM feed;

-- name: feed_backlog
-- How many events wait for a position, and for how long the oldest of them, in seconds.
SELECT count(*) AS events, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS seconds
FROM intent_events WHERE feed_position IS NULL;

-- name: newest_sequences
-- The newest sequence of each of some intents.
SELECT intent_id, sequence FROM intents WHERE intent_id = ANY($1::bytea[]);
