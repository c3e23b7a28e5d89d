-- One row per intent this solver was ever given. The newest award owns the row.
CREATE TABLE solver_jobs (
    intent_id      bytea PRIMARY KEY CHECK (octet_length(intent_id) = 32),
    award_number   bigint NOT NULL CHECK (award_number > 0),
    -- The ExecuteRequest of that award, whole: what is needed to go on after a crash.
    request        bytea NOT NULL,
    -- A value of the proto enum ExecuteStage; never falls within an award.
    stage          smallint NOT NULL CHECK (stage > 0),
    -- Number of the newest update of that award; dense from 1.
    update_number  integer NOT NULL DEFAULT 0,
    -- SETTLED, RELEASED or FAILED: nothing runs any more.
    ended          boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX solver_jobs_unfinished ON solver_jobs (created_at) WHERE NOT ended;

-- What was told about an award, told again to whoever attaches.
CREATE TABLE solver_updates (
    intent_id      bytea NOT NULL REFERENCES solver_jobs,
    award_number   bigint NOT NULL,
    update_number  integer NOT NULL,
    payload        bytea NOT NULL,
    PRIMARY KEY (intent_id, award_number, update_number)
);

-- Output tokens promised to jobs that have not paid them yet.
CREATE TABLE solver_reservations (
    intent_id      bytea NOT NULL REFERENCES solver_jobs,
    chain_id       bigint NOT NULL,
    token          bytea NOT NULL,
    amount         numeric(78, 0) NOT NULL CHECK (amount > 0),
    PRIMARY KEY (intent_id, chain_id, token)
);
CREATE INDEX solver_reservations_token ON solver_reservations (chain_id, token);

-- The current try of a step such as "{intent}:open". A try is one idempotency key of the transaction sender with its
-- call: after a crash the same try is taken up again; only proof that it came to nothing starts the next.
CREATE TABLE solver_tries (
    step           text PRIMARY KEY,
    try_number     integer NOT NULL CHECK (try_number > 0),
    -- The call of a try that was begun and is not known to have come to nothing; NULL between tries.
    to_address     bytea,
    data           bytea,
    value          numeric(78, 0),
    -- Unix seconds.
    deadline       double precision,
    CHECK ((to_address IS NULL) = (data IS NULL) AND (data IS NULL) = (value IS NULL))
);
