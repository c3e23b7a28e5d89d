-- The attempt ledger: what was asked for, and every signed transaction that was made for it, written before it left.
CREATE SCHEMA IF NOT EXISTS transactions;

-- The next nonce to hand out. Changed only by the holder of the signer's lease.
CREATE TABLE transactions.signers (
    chain_id   bigint NOT NULL,
    signer     bytea  NOT NULL CHECK (length(signer) = 20),
    next_nonce bigint NOT NULL CHECK (next_nonce >= 0),
    PRIMARY KEY (chain_id, signer)
);

CREATE TABLE transactions.requests (
    chain_id   bigint      NOT NULL,
    signer     bytea       NOT NULL CHECK (length(signer) = 20),
    key        text        NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    to_address bytea       NOT NULL CHECK (length(to_address) = 20),
    data       bytea       NOT NULL,
    value      numeric(78) NOT NULL CHECK (value >= 0),
    -- Unix seconds; NULL is none.
    deadline   double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, signer, key)
);

CREATE TABLE transactions.attempts (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id       bigint      NOT NULL,
    signer         bytea       NOT NULL,
    key            text        NOT NULL,
    nonce          bigint      NOT NULL CHECK (nonce >= 0),
    -- 1, 2, 3 … for each nonce.
    attempt        integer     NOT NULL CHECK (attempt > 0),
    -- CALL does what was asked; CANCEL is the self-transfer that takes its nonce when the deadline has passed.
    purpose        text        NOT NULL CHECK (purpose IN ('CALL', 'CANCEL')),
    state          text        NOT NULL CHECK (state IN ('PLANNED', 'BROADCAST', 'INDETERMINATE',
                                                         'CONFIRMED', 'REVERTED', 'REJECTED', 'REPLACED')),
    hash           bytea       NOT NULL CHECK (length(hash) = 32),
    raw            bytea       NOT NULL,
    gas_limit      bigint      NOT NULL,
    -- Wei per gas.
    max_fee        numeric(78) NOT NULL,
    priority_fee   numeric(78) NOT NULL,
    replacement_of bigint      REFERENCES transactions.attempts (id),
    -- Why it is in its state, for a person.
    note           text        NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (chain_id, signer, nonce, attempt),
    FOREIGN KEY (chain_id, signer, key) REFERENCES transactions.requests (chain_id, signer, key)
);

CREATE INDEX attempts_of_request ON transactions.attempts (chain_id, signer, key);
CREATE INDEX attempts_unfinished ON transactions.attempts (chain_id, signer)
    WHERE state IN ('PLANNED', 'BROADCAST', 'INDETERMINATE');

CREATE FUNCTION transactions.refuse_change_of_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'attempt % is % for good', OLD.id, OLD.state USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER attempts_outcome_is_final BEFORE UPDATE ON transactions.attempts FOR EACH ROW
    WHEN (OLD.state IN ('CONFIRMED', 'REVERTED', 'REJECTED', 'REPLACED'))
    EXECUTE FUNCTION transactions.refuse_change_of_outcome();
