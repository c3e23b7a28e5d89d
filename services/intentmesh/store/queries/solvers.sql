-- name: upsert_solver
-- Registers a solver, or replaces what its newest signature says. A signature older than the newest changes nothing, and
-- the newest one shown again does not even say that the solver lives, since anybody may have seen it: its name is not
-- signed, and a replay ends no bench.
INSERT INTO solvers (solver_id, address, endpoint, name, signed_time, capabilities)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (solver_id) DO UPDATE
SET endpoint = EXCLUDED.endpoint,
    name = CASE WHEN solvers.signed_time < EXCLUDED.signed_time THEN EXCLUDED.name ELSE solvers.name END,
    signed_time = EXCLUDED.signed_time,
    capabilities = EXCLUDED.capabilities,
    heartbeat_at = CASE WHEN solvers.signed_time < EXCLUDED.signed_time THEN now() ELSE solvers.heartbeat_at END,
    deregistered_at = NULL
WHERE solvers.signed_time < EXCLUDED.signed_time
   OR (solvers.signed_time = EXCLUDED.signed_time AND solvers.endpoint = EXCLUDED.endpoint
       AND solvers.deregistered_at IS NULL)
RETURNING *

-- name: deregister_solver
-- Takes a solver out, unless it has signed something newer.
UPDATE solvers SET deregistered_at = now(), signed_time = $2
WHERE solver_id = $1 AND signed_time <= $2
RETURNING solver_id

-- name: get_solver
-- One solver.
SELECT * FROM solvers WHERE solver_id = $1

-- name: lock_solvers
-- Locks solvers in the order of their ids, so that two writers never wait for each other.
SELECT * FROM solvers WHERE solver_id = ANY ($1::text[]) ORDER BY solver_id FOR UPDATE

-- name: list_solvers
-- A page of all solvers, deregistered ones included, by id.
SELECT * FROM solvers WHERE solver_id > $1 ORDER BY solver_id LIMIT $2

-- name: live_solvers
-- Solvers that may be asked some time: an operator approves them, or the configuration, which names $2 or ($3) anybody.
-- All others may be a crowd that no competition should read.
SELECT * FROM solvers
WHERE deregistered_at IS NULL AND (approved OR solver_id = ANY ($2::text[]) OR $3)
ORDER BY approved OR solver_id = ANY ($2::text[]) DESC, heartbeat_at DESC, solver_id LIMIT $1

-- name: forget_strangers
-- Takes out solvers that nobody has ever approved or judged, $1 being approved by the configuration: those beyond the $2
-- that were heard of last (of these, who has left counts least), and those silent for $3 seconds. With its row goes the
-- time of its newest signature; a replay of it could only enter it again, as one that nobody has approved.
WITH strangers AS (
    SELECT solver_id, heartbeat_at,
           row_number() OVER (ORDER BY deregistered_at IS NULL DESC, heartbeat_at DESC, solver_id) AS place
    FROM solvers
    WHERE NOT approved AND NOT disabled AND won = 0 AND solver_id <> ALL ($1::text[])
), over AS (
    SELECT solver_id FROM solvers
    WHERE solver_id IN (
            SELECT solver_id FROM strangers WHERE place > $2 OR heartbeat_at < now() - make_interval(secs => $3)
        )
      -- Once more, since an operator may have decided meanwhile.
      AND NOT approved AND NOT disabled
      AND NOT EXISTS (SELECT FROM outcomes o WHERE o.solver_id = solvers.solver_id)
    ORDER BY solver_id
    FOR UPDATE SKIP LOCKED
)
DELETE FROM solvers WHERE solver_id IN (SELECT solver_id FROM over)
RETURNING solver_id

-- name: decide_solver
-- An operator's decision.
UPDATE solvers SET approved = $2, disabled = $3 WHERE solver_id = $1 RETURNING *

-- name: save_capabilities
-- What the solver said it serves.
UPDATE solvers SET capabilities = $2 WHERE solver_id = $1

-- name: heartbeat
-- The solver lived when it signed this. What it has signed before proves nothing more: anybody may show it again. Returns
-- the newest time it has signed.
UPDATE solvers
SET heartbeat_at = CASE WHEN signed_time < $2 THEN now() ELSE heartbeat_at END, signed_time = greatest(signed_time, $2)
WHERE solver_id = $1 AND deregistered_at IS NULL
RETURNING signed_time

-- name: save_availability
-- State of the breaker.
UPDATE solvers SET failures = $2, trips = $3, benched_until = $4 WHERE solver_id = $1

-- name: claim_probe
-- Lets one competition ask a benched solver again; the others pass it over until its answer is known or $2 has come.
UPDATE solvers SET benched_until = $2
WHERE solver_id = $1 AND benched_until = $3
RETURNING solver_id

-- name: insert_auction
-- Stores a competition, unless one of this intent and round is stored: the first result is the result.
INSERT INTO auctions (auction_id, intent_id, round, order_hash, payload)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING auction_id

-- name: get_auction
-- One competition.
SELECT * FROM auctions WHERE auction_id = $1

-- name: list_auctions
-- Competitions of an intent, newest round first.
SELECT * FROM auctions WHERE intent_id = $1 AND round < $2 ORDER BY round DESC LIMIT $3

-- name: insert_outcome
-- Stores what became of an award, once.
INSERT INTO outcomes (intent_id, award_number, solver_id, payload)
VALUES ($1, $2, $3, $4)
ON CONFLICT (intent_id, award_number) DO NOTHING
RETURNING outcome_number

-- name: count_judged_award
-- Adds an award to the solver's standing; $2 is 1 where it settled as promised.
UPDATE solvers SET won = won + 1, settled = settled + $2 WHERE solver_id = $1 RETURNING *

-- name: list_outcomes
-- Outcomes, newest first; of all solvers where $1 is empty.
SELECT * FROM outcomes
WHERE ($1 = '' OR solver_id = $1) AND outcome_number < $2
ORDER BY outcome_number DESC LIMIT $3
