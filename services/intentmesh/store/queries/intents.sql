-- name: insert_intents
-- Stores a group of intents of one state, each with its first event and its work; answers with the ids that were stored. In
-- the order of their ids, so that two groups with common intents wait for each other instead of deadlocking. Numbers beyond
-- 64 bits and lists come as text, which is cheaper to make than their binary form.
WITH incoming AS MATERIALIZED (
    SELECT * FROM unnest($5::bytea[], $6::bytea[], $7::smallint[], $8::bytea[], $9::bytea[], $10::bigint[], $11::bytea[],
                         $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::text[], $17::text[],
                         $18::text[], $19::text[], $20::bytea[])
        AS t (intent_id, user_address, type, order_payload, input_settler, origin_chain_id, signature, permit2_nonce,
              created_at, expires_at, source, ip, user_agent, input_tokens, input_amounts, event)
), stored AS (
    INSERT INTO intents (intent_id, user_address, type, status, phase, obligation, sequence, order_payload, input_settler,
                         origin_chain_id, signature, permit2_nonce, created_at, updated_at, expires_at, message, source, ip,
                         user_agent, input_tokens, input_amounts)
    SELECT intent_id, user_address, type, $1, $2, $3, 1, order_payload, input_settler, origin_chain_id, signature,
           permit2_nonce::numeric, created_at, created_at, expires_at, $4, source, ip, user_agent, input_tokens::bytea[],
           input_amounts::numeric[]
    FROM incoming ORDER BY intent_id
    ON CONFLICT DO NOTHING
    RETURNING intent_id
), told AS (
    INSERT INTO intent_events (intent_id, sequence, payload, created_at)
    SELECT intent_id, 1, event, created_at FROM incoming JOIN stored USING (intent_id)
), work AS (
    INSERT INTO executions (intent_id, due_at) SELECT intent_id, created_at FROM incoming JOIN stored USING (intent_id)
)
SELECT intent_id FROM stored;

-- name: standing_of
-- Where some intents stand.
SELECT intent_id, status, sequence FROM intents WHERE intent_id = ANY($1::bytea[]);

-- name: first_events
-- What some intents were stored with.
SELECT intent_id, payload FROM intent_events WHERE intent_id = ANY($1::bytea[]) AND sequence = 1;

-- name: nonce_holders
-- The intents that hold some Permit2 nonces; the predicate is that of the unique index.
SELECT asked.place, i.intent_id
FROM unnest($1::bigint[], $2::bytea[], $3::text[]) WITH ORDINALITY AS asked (origin_chain_id, user_address, nonce, place)
JOIN intents i ON i.origin_chain_id = asked.origin_chain_id AND i.user_address = asked.user_address
    AND i.permit2_nonce = asked.nonce::numeric AND (i.status IN (1, 2, 3) OR i.obligation <> 1);

-- name: get_intent
-- One intent.
SELECT * FROM intents WHERE intent_id = $1;

-- name: get_intents
-- Some intents.
SELECT * FROM intents WHERE intent_id = ANY($1::bytea[]);

-- name: lock_intent
-- One intent, held until the transaction ends.
SELECT * FROM intents WHERE intent_id = $1 FOR UPDATE;

-- name: find_by_nonce
-- The intent that holds a Permit2 nonce; the predicate is that of the unique index.
SELECT intent_id FROM intents
WHERE origin_chain_id = $1 AND user_address = $2 AND permit2_nonce = $3 AND (status IN (1, 2, 3) OR obligation <> 1);

-- name: ids_of_user
-- Some of a user's intents, in no order.
SELECT intent_id FROM intents WHERE user_address = $1 LIMIT $2;

-- name: find_by_transaction
-- The intents that a transaction did something for; one can serve several.
SELECT DISTINCT intent_id FROM intent_transactions WHERE hash = $1;

-- name: open_of_users
-- How many intents of some users have not ended (token NULL), and what those that are not in escrow yet may still take. The
-- predicate is that of intents_open_by_user.
WITH open AS MATERIALIZED (
    SELECT user_address, origin_chain_id, obligation, permit2_nonce IS NOT NULL AS by_permit2, input_tokens, input_amounts
    FROM intents WHERE user_address = ANY($1::bytea[]) AND (status IN (1, 2)) IS TRUE
)
SELECT user_address, NULL::bigint AS origin_chain_id, NULL::bytea AS token, NULL::boolean AS by_permit2,
       count(*)::text AS amount
FROM open GROUP BY user_address
UNION ALL
SELECT user_address, origin_chain_id, input.token, by_permit2, sum(input.amount)::text
FROM open, unnest(input_tokens, input_amounts) AS input (token, amount)
WHERE obligation IN (1, 2)
GROUP BY user_address, origin_chain_id, input.token, by_permit2;

-- name: open_among
-- Of some intents, whether they have not ended, and whether open_of_users counts what they take. The status is no condition:
-- it would be found by an index of its own.
SELECT intent_id, status IN (1, 2), obligation IN (1, 2) FROM intents WHERE intent_id = ANY($1::bytea[]);

-- name: list_intents
-- A page, newest first, after a key; an absent condition is NULL.
SELECT * FROM intents
WHERE ($1::bytea IS NULL OR user_address = $1)
  AND ($2::smallint[] IS NULL OR status = ANY($2))
  AND ($3::smallint[] IS NULL OR type = ANY($3))
  AND ($4::timestamptz IS NULL OR created_at >= $4)
  AND ($5::timestamptz IS NULL OR created_at < $5)
  AND ($6::timestamptz IS NULL OR (created_at, intent_id) < ($6, $7::bytea))
  AND ($9::bytea[] IS NULL OR intent_id = ANY($9))
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

-- name: claim_request_ids
-- Takes some request ids; returns those that nobody had.
INSERT INTO request_ids (principal, request_id, body_hash, intent_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) AS t (principal, request_id, body_hash, intent_id)
ORDER BY principal, request_id
ON CONFLICT DO NOTHING
RETURNING principal, request_id;

-- name: get_request_ids
-- What some request ids were used for.
SELECT r.principal, r.request_id, r.body_hash, r.intent_id
FROM unnest($1::text[], $2::text[]) AS asked (principal, request_id) JOIN request_ids r USING (principal, request_id);

-- name: give_up_request_ids
-- Lets go of request ids whose order was refused after all.
DELETE FROM request_ids r USING unnest($1::text[], $2::text[]) AS t (principal, request_id)
WHERE r.principal = t.principal AND r.request_id = t.request_id;
