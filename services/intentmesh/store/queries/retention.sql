-- name: lock_removal
-- Takes the removal for this session; false where another one is at it.
SELECT pg_try_advisory_lock(hashtextextended('intentmesh.retention', 0));

-- name: lock_expired
-- Intents that are over for good and long since, held until the transaction ends: terminal, nobody owes anything, no work
-- is left, every event is in the feed, and nobody reads them. Those that somebody works on are passed over.
SELECT i.* FROM intents i
WHERE i.expires_at < $1 AND i.updated_at < $1 AND i.status IN (3, 4, 5, 6) AND i.obligation = 1
  AND NOT EXISTS (SELECT FROM executions e
                  WHERE e.intent_id = i.intent_id AND (e.due_at IS NOT NULL OR e.claimed_by IS NOT NULL))
  AND NOT EXISTS (SELECT FROM intent_events v WHERE v.intent_id = i.intent_id AND v.feed_position IS NULL)
  AND NOT EXISTS (SELECT FROM intent_watches w WHERE w.intent_id = i.intent_id AND w.until > now())
ORDER BY i.expires_at
LIMIT $2
FOR UPDATE OF i SKIP LOCKED;

-- name: events_of
-- All events of some intents.
SELECT intent_id, payload FROM intent_events WHERE intent_id = ANY($1::bytea[]) ORDER BY intent_id, sequence;

-- name: auctions_of
-- All competitions for some intents.
SELECT intent_id, payload FROM auctions WHERE intent_id = ANY($1::bytea[]) ORDER BY intent_id, round;

-- name: outcomes_of
-- What became of all awards of some intents.
SELECT intent_id, payload FROM outcomes WHERE intent_id = ANY($1::bytea[]) ORDER BY intent_id, award_number;

-- name: lock_unchanged
-- Those of some intents that nothing was told of since a sequence, held until the transaction ends; what somebody works on
-- is passed over.
SELECT i.intent_id FROM intents i
JOIN unnest($1::bytea[], $2::bigint[]) AS seen (intent_id, sequence) USING (intent_id, sequence)
FOR UPDATE OF i SKIP LOCKED;

-- name: idle
-- Those of some locked intents that nobody works on and nobody reads. Asked once they are locked: who came first is seen.
SELECT i.intent_id FROM intents i
WHERE i.intent_id = ANY($1::bytea[])
  AND NOT EXISTS (SELECT FROM executions e
                  WHERE e.intent_id = i.intent_id AND (e.due_at IS NOT NULL OR e.claimed_by IS NOT NULL))
  AND NOT EXISTS (SELECT FROM intent_watches w WHERE w.intent_id = i.intent_id AND w.until > now());

-- name: remove_intents
-- Removes intents with all that belongs to them. Whoever resumes the feed from before their events is told that it is too
-- old, instead of missing them without a word.
WITH last AS (
    SELECT max(feed_position) AS position FROM intent_events WHERE intent_id = ANY($1::bytea[])
), raised AS (
    UPDATE feed SET first_position = greatest(first_position, last.position + 1)
    FROM last WHERE last.position IS NOT NULL
), competitions AS (
    DELETE FROM auctions WHERE intent_id = ANY($1::bytea[])
), judgements AS (
    DELETE FROM outcomes WHERE intent_id = ANY($1::bytea[])
)
DELETE FROM intents WHERE intent_id = ANY($1::bytea[]);

-- name: remove_request_ids
-- Forgets request ids that are older than any order they could repeat.
DELETE FROM request_ids WHERE (principal, request_id) IN (
    SELECT principal, request_id FROM request_ids WHERE created_at < $1 ORDER BY created_at LIMIT $2
    FOR UPDATE SKIP LOCKED
);

-- name: mark_watched
-- Somebody reads these intents and will for so long. Those that are being removed are waited for, and are gone then. A mark
-- that has half of its time left is not written again: readers come and go, and others may have renewed it.
INSERT INTO intent_watches (intent_id, until)
SELECT intent_id, now() + $2::interval FROM intents WHERE intent_id = ANY($1::bytea[]) ORDER BY intent_id FOR KEY SHARE
ON CONFLICT (intent_id) DO UPDATE SET until = excluded.until
WHERE intent_watches.until < now() + $2::interval / 2;

-- name: remove_watches
-- Marks whose time is over; one that is renewed meanwhile stays.
DELETE FROM intent_watches
WHERE until < now()
  AND intent_id IN (SELECT intent_id FROM intent_watches WHERE until < now() ORDER BY until LIMIT $1);
