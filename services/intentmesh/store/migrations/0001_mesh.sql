-- Ids, addresses and hashes are raw bytes. Enums are the numbers of the protos. Amounts are uint256.
CREATE DOMAIN word AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN address AS bytea CHECK (octet_length(VALUE) = 20);
CREATE DOMAIN uint256 AS numeric(78, 0) CHECK (VALUE >= 0);

CREATE TABLE intents (
    intent_id       word PRIMARY KEY,
    user_address    address NOT NULL,
    type            smallint NOT NULL,
    status          smallint NOT NULL,
    phase           smallint NOT NULL,
    obligation      smallint NOT NULL,
    sequence        bigint NOT NULL CHECK (sequence >= 1),
    order_payload   bytea NOT NULL,
    input_settler   address NOT NULL,
    origin_chain_id bigint NOT NULL,
    signature       bytea NOT NULL,
    -- NULL where the order is opened with another kind of signature.
    permit2_nonce   uint256,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    -- The fill deadline.
    expires_at      timestamptz NOT NULL,
    message         text NOT NULL,
    reason          integer NOT NULL DEFAULT 0,
    source          text NOT NULL DEFAULT '',
    ip              text NOT NULL DEFAULT '',
    user_agent      text NOT NULL DEFAULT '',
    solver_id       text NOT NULL DEFAULT '',
    solver_address  address,
    award_number    integer NOT NULL DEFAULT 0,
    attempts        integer NOT NULL DEFAULT 0,
    gas_used        bigint NOT NULL DEFAULT 0,
    total_cost      uint256 NOT NULL DEFAULT 0
);
CREATE INDEX intents_by_status ON intents (status, created_at);
CREATE INDEX intents_by_user ON intents (user_address, status);
CREATE INDEX intents_by_expiry ON intents (expires_at);
CREATE INDEX intents_by_age ON intents (created_at DESC, intent_id DESC);
CREATE INDEX intents_owing ON intents (obligation) WHERE obligation <> 1;
-- A nonce is free again once its intent has ended, other than by completion, and nobody owes anything.
CREATE UNIQUE INDEX intents_permit2_nonce ON intents (origin_chain_id, user_address, permit2_nonce)
    WHERE permit2_nonce IS NOT NULL AND (status IN (1, 2, 3) OR obligation <> 1);

CREATE TABLE intent_events (
    -- Drawn while the intent's row is locked: within one intent it rises with the sequence.
    event_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    intent_id     word NOT NULL REFERENCES intents ON DELETE CASCADE,
    sequence      bigint NOT NULL,
    payload       bytea NOT NULL,
    created_at    timestamptz NOT NULL,
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    feed_position bigint UNIQUE,
    UNIQUE (intent_id, sequence)
);
CREATE INDEX intent_events_unstamped ON intent_events (event_id) WHERE feed_position IS NULL;

CREATE TABLE feed (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch          uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The lowest position still held; retention raises it.
    first_position bigint NOT NULL DEFAULT 1,
    last_position  bigint NOT NULL DEFAULT 0
);
INSERT INTO feed DEFAULT VALUES;

CREATE TABLE executions (
    intent_id        word PRIMARY KEY REFERENCES intents ON DELETE CASCADE,
    -- NULL: nothing is left to do.
    due_at           timestamptz,
    claimed_by       text,
    claim_expires_at timestamptz,
    fence            bigint NOT NULL DEFAULT 0,
    -- Somebody asked for attention while a worker held the claim.
    woken            boolean NOT NULL DEFAULT false,
    rounds           integer NOT NULL DEFAULT 0,
    attempts         integer NOT NULL DEFAULT 0,
    opened_block     bigint,
    state            jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX executions_due ON executions (due_at, intent_id) WHERE due_at IS NOT NULL;

CREATE TABLE awards (
    intent_id    word NOT NULL REFERENCES intents ON DELETE CASCADE,
    award_number integer NOT NULL CHECK (award_number >= 1),
    auction_id   text NOT NULL,
    solver_id    text NOT NULL,
    solver       address NOT NULL,
    quote        bytea NOT NULL,
    state        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (intent_id, award_number)
);

CREATE TABLE intent_transactions (
    -- The order of discovery.
    discovery           bigint GENERATED ALWAYS AS IDENTITY,
    intent_id           word NOT NULL REFERENCES intents ON DELETE CASCADE,
    chain_id            bigint NOT NULL,
    hash                word NOT NULL,
    kind                smallint NOT NULL,
    status              smallint NOT NULL,
    block_number        bigint NOT NULL,
    gas_used            bigint NOT NULL,
    effective_gas_price uint256 NOT NULL,
    sender              address,
    PRIMARY KEY (intent_id, chain_id, hash, kind)
);
CREATE INDEX intent_transactions_by_hash ON intent_transactions (hash);

CREATE TABLE attestations (
    intent_id   word NOT NULL REFERENCES intents ON DELETE CASCADE,
    output_hash word NOT NULL,
    attester    address NOT NULL,
    payload     bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (intent_id, output_hash, attester)
);

CREATE TABLE request_ids (
    principal  text NOT NULL,
    request_id text NOT NULL,
    body_hash  word NOT NULL,
    intent_id  word NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, request_id)
);
CREATE INDEX request_ids_by_age ON request_ids (created_at);

CREATE TABLE executor_pause (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    reason    text NOT NULL,
    paused_by text NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT now()
);
