-- name: lock_admission
-- One admission at a time, so that two jobs cannot be promised the same tokens.
SELECT pg_advisory_xact_lock(hashtext('intentmesh.solver.admission'));

-- name: get_job
-- A job by intent.
SELECT intent_id, award_number, request, stage, update_number FROM solver_jobs WHERE intent_id = $1;

-- name: lock_job
-- A job by intent, held until the transaction ends.
SELECT intent_id, award_number, request, stage, update_number FROM solver_jobs WHERE intent_id = $1 FOR UPDATE;

-- name: put_award
-- A new job, or the next award of a known one; nothing when the known award is as high.
INSERT INTO solver_jobs (intent_id, award_number, request, stage, update_number, ended)
VALUES ($1, $2, $3, $4, 1, $5)
ON CONFLICT (intent_id) DO UPDATE
SET award_number = excluded.award_number, request = excluded.request, stage = excluded.stage, update_number = 1,
    ended = excluded.ended, updated_at = now()
WHERE solver_jobs.award_number < excluded.award_number
RETURNING intent_id, award_number, request, stage, update_number;

-- name: advance_job
-- Bring a locked job on by one update.
UPDATE solver_jobs SET stage = $2, update_number = $3, ended = $4, updated_at = now() WHERE intent_id = $1;

-- name: unfinished_jobs
-- What has to be gone on with after a start, oldest first.
SELECT intent_id, award_number, request, stage, update_number FROM solver_jobs WHERE NOT ended ORDER BY created_at;

-- name: add_update
-- One update of an award.
INSERT INTO solver_updates (intent_id, award_number, update_number, payload) VALUES ($1, $2, $3, $4);

-- name: read_updates
-- The updates of an award after a number.
SELECT payload FROM solver_updates
WHERE intent_id = $1 AND award_number = $2 AND update_number > $3 ORDER BY update_number;

-- name: reserve
-- Hold back tokens for a job.
INSERT INTO solver_reservations (intent_id, chain_id, token, amount) VALUES ($1, $2, $3, $4);

-- name: free_reservations
-- Hold back nothing for a job any more, and count that where something was.
WITH freed AS (DELETE FROM solver_reservations WHERE intent_id = $1 RETURNING 1)
UPDATE solver_frees SET frees = frees + 1 WHERE EXISTS (SELECT FROM freed);

-- name: frees
-- How often something was freed.
SELECT frees FROM solver_frees;

-- name: reserved
-- What is held back of a token for all jobs but one, and how often something was freed before.
SELECT coalesce(sum(amount), 0) AS held, (SELECT frees FROM solver_frees) AS frees
FROM solver_reservations WHERE chain_id = $1 AND token = $2 AND intent_id <> $3;

-- name: get_try
-- The current try of a step, with its call once it was begun.
SELECT try_number, to_address, data, value, deadline FROM solver_tries WHERE step = $1;

-- name: begin_try
-- The call of the current try, unless it was begun before; then that call stays.
INSERT INTO solver_tries (step, try_number, to_address, data, value, deadline) VALUES ($1, 1, $2, $3, $4, $5)
ON CONFLICT (step) DO UPDATE
SET to_address = excluded.to_address, data = excluded.data, value = excluded.value, deadline = excluded.deadline
WHERE solver_tries.data IS NULL;

-- name: end_try
-- The try came to nothing: the next one may begin.
UPDATE solver_tries SET try_number = try_number + 1, to_address = NULL, data = NULL, value = NULL, deadline = NULL
WHERE step = $1 AND try_number = $2;
