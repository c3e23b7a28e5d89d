-- Solvers, competitions and what became of awards. Approval by configuration is not stored: it is what the configuration says now.

CREATE TABLE solvers (
    solver_id text PRIMARY KEY,                    -- the address in lower case
    address bytea NOT NULL CHECK (length(address) = 20),
    endpoint text NOT NULL,
    name text NOT NULL DEFAULT '',
    approved boolean NOT NULL DEFAULT false,       -- by an operator
    disabled boolean NOT NULL DEFAULT false,       -- by an operator
    deregistered_at timestamptz,
    signed_time bigint NOT NULL,                   -- of the newest signed request: an older one is a replay
    capabilities bytea NOT NULL DEFAULT '',        -- proto GetCapabilitiesResponse
    created_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0,           -- answers missed in a row
    trips integer NOT NULL DEFAULT 0,              -- times benched since the last answer
    benched_until timestamptz,
    won integer NOT NULL DEFAULT 0,                -- judged awards
    settled integer NOT NULL DEFAULT 0             -- of these, settled as promised
);

CREATE TABLE auctions (
    auction_id text PRIMARY KEY,                   -- {intent_id}:{round}
    intent_id bytea NOT NULL,
    round bigint NOT NULL,
    order_hash bytea NOT NULL,
    payload bytea NOT NULL,                        -- proto Auction
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (intent_id, round)
);

CREATE TABLE outcomes (
    outcome_number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    intent_id bytea NOT NULL,
    award_number bigint NOT NULL,
    solver_id text NOT NULL REFERENCES solvers,
    payload bytea NOT NULL,                        -- proto Outcome
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (intent_id, award_number)
);

CREATE INDEX outcomes_by_solver ON outcomes (solver_id, outcome_number DESC);
