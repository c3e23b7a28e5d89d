-- Everything this attester ever signed. A row is committed before its signature leaves, and no row ever changes: the
-- primary key makes a second, different statement about an output impossible.
CREATE SCHEMA IF NOT EXISTS attester;

CREATE TABLE attester.journal (
    position        bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    attester        bytea       NOT NULL CHECK (length(attester) = 20),
    intent_id       bytea       NOT NULL CHECK (length(intent_id) = 32),
    output_hash     bytea       NOT NULL CHECK (length(output_hash) = 32),
    -- What was signed: the EIP-712 digest, which covers origin chain, oracle and everything below.
    digest          bytea       NOT NULL CHECK (length(digest) = 32),
    signature       bytea       NOT NULL CHECK (length(signature) = 65),
    remote_chain_id bigint      NOT NULL,
    remote_oracle   bytea       NOT NULL CHECK (length(remote_oracle) = 32),
    application     bytea       NOT NULL CHECK (length(application) = 32),
    data_hash       bytea       NOT NULL CHECK (length(data_hash) = 32),
    solver          bytea       NOT NULL CHECK (length(solver) = 32),
    -- Unix seconds of the fill's block.
    fill_timestamp  bigint      NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (attester, intent_id, output_hash)
);

CREATE FUNCTION attester.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal only grows' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER journal_only_grows BEFORE UPDATE OR DELETE ON attester.journal FOR EACH ROW
    EXECUTE FUNCTION attester.refuse_change();
CREATE TRIGGER journal_is_never_emptied BEFORE TRUNCATE ON attester.journal
    EXECUTE FUNCTION attester.refuse_change();
