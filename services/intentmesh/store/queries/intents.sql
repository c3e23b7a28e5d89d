-- name: insert_intent
-- Stores an intent with its first event and its work, or nothing when its id or its nonce is taken.
WITH stored AS (
    INSERT INTO intents (intent_id, user_address, type, status, phase, obligation, sequence, order_payload, input_settler,
                         origin_chain_id, signature, permit2_nonce, created_at, updated_at, expires_at, message, source, ip,
                         user_agent)
    VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9, $10, $11, $12, $12, $13, $14, $15, $16, $17)
    ON CONFLICT DO NOTHING
    RETURNING *
), told AS (
    INSERT INTO intent_events (intent_id, sequence, payload, created_at)
    SELECT intent_id, 1, $18, created_at FROM stored
), work AS (
    INSERT INTO executions (intent_id, due_at) SELECT intent_id, $19 FROM stored
)
SELECT * FROM stored;

-- name: get_intent
-- One intent.
SELECT * FROM intents WHERE intent_id = $1;

-- name: lock_intent
-- One intent, held until the transaction ends.
SELECT * FROM intents WHERE intent_id = $1 FOR UPDATE;

-- name: find_by_nonce
-- The intent that holds a Permit2 nonce; the predicate is that of the unique index.
SELECT intent_id FROM intents
WHERE origin_chain_id = $1 AND user_address = $2 AND permit2_nonce = $3 AND (status IN (1, 2, 3) OR obligation <> 1);

-- name: count_open
-- How many intents of a user have not ended.
SELECT count(*) FROM intents WHERE user_address = $1 AND status IN (1, 2);

-- name: list_intents
-- A page, newest first, after a key; an absent condition is NULL.
SELECT * FROM intents
WHERE ($1::bytea IS NULL OR user_address = $1)
  AND ($2::smallint[] IS NULL OR status = ANY($2))
  AND ($3::smallint[] IS NULL OR type = ANY($3))
  AND ($4::timestamptz IS NULL OR created_at >= $4)
  AND ($5::timestamptz IS NULL OR created_at < $5)
  AND ($6::timestamptz IS NULL OR (created_at, intent_id) < ($6, $7::bytea))
ORDER BY created_at DESC, intent_id DESC
LIMIT $8;

-- name: apply
-- The one transition: row and event together, only from the sequence that the caller has seen.
WITH changed AS (
    UPDATE intents SET
        status = $3, phase = $4, obligation = $5, message = $6, reason = $7, updated_at = $8, sequence = sequence + 1,
        solver_id = coalesce($9, solver_id), solver_address = coalesce($10, solver_address),
        award_number = coalesce($11, award_number), attempts = coalesce($12, attempts),
        gas_used = coalesce($13, gas_used), total_cost = coalesce($14, total_cost)
    WHERE intent_id = $1 AND sequence = $2
    RETURNING *
), told AS (
    INSERT INTO intent_events (intent_id, sequence, payload, created_at)
    SELECT intent_id, sequence, $15, updated_at FROM changed
)
SELECT * FROM changed;

-- name: claim_request_id
-- Takes a request id; returns nothing when somebody has it.
INSERT INTO request_ids (principal, request_id, body_hash, intent_id) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: get_request_id
-- What a request id was used for.
SELECT body_hash, intent_id FROM request_ids WHERE principal = $1 AND request_id = $2;
