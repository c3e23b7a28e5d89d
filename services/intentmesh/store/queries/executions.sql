-- name: claim_due
-- Takes due work nobody holds: a higher fence makes the former holder's writes void. Workers never wait for each other.
-- What is held is due when its lease is over, so that whoever looks for work does not read all that others hold.
UPDATE executions SET claimed_by = $1, claim_expires_at = now() + $3::interval, due_at = now() + $3::interval,
    fence = fence + 1, woken = false
WHERE intent_id IN (
    SELECT intent_id FROM executions
    WHERE due_at <= now() AND (claim_expires_at IS NULL OR claim_expires_at <= now())
    ORDER BY due_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
RETURNING intent_id, fence, claimed_by;

-- name: renew
-- Prolongs claims that are still held; returns those. By an expression of which there are no statistics: by those of an
-- hour without claims there are none now either, and each of these would be compared with each.
UPDATE executions e SET claim_expires_at = now() + $3::interval, due_at = now() + $3::interval
FROM unnest($1::bytea[], $2::bigint[]) AS held (intent_id, fence)
WHERE e.intent_id = held.intent_id AND e.fence = held.fence AND coalesce(e.claim_expires_at, '-infinity') > '-infinity'
RETURNING e.intent_id, e.fence, e.claimed_by;

-- name: lock_fence
-- The execution under a fence, held until the transaction ends; nothing when the fence is old.
SELECT true FROM executions WHERE intent_id = $1 AND fence = $2 AND claimed_by IS NOT NULL FOR UPDATE;

-- name: release
-- Gives a claim back, due again at a time, or never (NULL); at once when somebody woke it meanwhile.
UPDATE executions SET claimed_by = NULL, claim_expires_at = NULL, woken = false,
    due_at = CASE WHEN woken THEN now() ELSE $3::timestamptz END
WHERE intent_id = $1 AND fence = $2 AND claimed_by IS NOT NULL
RETURNING true;

-- name: wake
-- Makes work due at once; a worker that holds it looks again before it lets go.
UPDATE executions SET due_at = LEAST(due_at, now()), woken = claimed_by IS NOT NULL WHERE intent_id = $1
RETURNING true;

-- name: get_execution
-- The work on one intent.
SELECT * FROM executions WHERE intent_id = $1;

-- name: list_executions
-- Work that is not done, longest waiting first, after a key.
SELECT * FROM executions
WHERE due_at IS NOT NULL AND ($1::timestamptz IS NULL OR (due_at, intent_id) > ($1, $2::bytea))
ORDER BY due_at, intent_id
LIMIT $3;

-- name: update_execution
-- What the holder of a fence remembers; NULL keeps a column.
UPDATE executions SET rounds = coalesce($3, rounds), attempts = coalesce($4, attempts),
    state = coalesce($5::jsonb, state)
WHERE intent_id = $1 AND fence = $2 AND claimed_by IS NOT NULL
RETURNING true;

-- name: add_award
-- An award; its number is unique per intent.
INSERT INTO awards (intent_id, award_number, auction_id, solver_id, solver, quote, state, token)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: set_award_state
-- What became of an award.
UPDATE awards SET state = $3 WHERE intent_id = $1 AND award_number = $2;

-- name: list_awards
-- Awards of some intents, the newest of each last.
SELECT * FROM awards WHERE intent_id = ANY($1::bytea[]) ORDER BY intent_id, award_number;

-- name: upsert_transaction
-- A transaction as it is known now; figures that are not known (0) keep what was known. Nothing when nothing changed.
INSERT INTO intent_transactions AS t (intent_id, chain_id, hash, kind, status, block_number, gas_used, effective_gas_price, sender)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (intent_id, chain_id, hash, kind) DO UPDATE SET
    status = excluded.status,
    block_number = excluded.block_number,
    gas_used = CASE WHEN excluded.gas_used = 0 THEN t.gas_used ELSE excluded.gas_used END,
    effective_gas_price = CASE WHEN excluded.effective_gas_price = 0 THEN t.effective_gas_price ELSE excluded.effective_gas_price END,
    sender = coalesce(excluded.sender, t.sender)
WHERE (t.status, t.block_number) IS DISTINCT FROM (excluded.status, excluded.block_number)
   OR excluded.gas_used NOT IN (0, t.gas_used)
   OR excluded.effective_gas_price NOT IN (0, t.effective_gas_price)
   OR (t.sender IS NULL AND excluded.sender IS NOT NULL)
RETURNING true;

-- name: sum_transactions
-- Gas and cost of an intent over its transactions; one transaction that did two things for it counts once.
UPDATE intents SET gas_used = total.gas, total_cost = total.cost
FROM (
    SELECT coalesce(sum(gas_used), 0) AS gas, coalesce(sum(gas_used * effective_gas_price), 0) AS cost
    FROM (SELECT DISTINCT ON (chain_id, hash) gas_used, effective_gas_price FROM intent_transactions
          WHERE intent_id = $1 ORDER BY chain_id, hash, gas_used DESC) AS each
) AS total
WHERE intent_id = $1;

-- name: list_transactions
-- Transactions of intents in the order of discovery.
SELECT * FROM intent_transactions WHERE intent_id = ANY($1::bytea[]) ORDER BY discovery;

-- name: save_attestation
-- A signature of an attester over a fill; a newer one takes the place of what it signed before.
INSERT INTO attestations (intent_id, output_hash, attester, payload) VALUES ($1, $2, $3, $4)
ON CONFLICT (intent_id, output_hash, attester) DO UPDATE SET payload = excluded.payload;

-- name: list_attestations
-- Attestations of an intent; by attester within an output, as the oracle wants them.
SELECT output_hash, attester, payload FROM attestations WHERE intent_id = $1 ORDER BY output_hash, attester;

-- name: pause
-- Keeps new work back; the first pause stays.
INSERT INTO executor_pause (reason, paused_by) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: resume
-- Ends a pause.
DELETE FROM executor_pause;

-- name: get_pause
-- The pause, if there is one.
SELECT reason, paused_by, paused_at FROM executor_pause;
