-- What an open order may still take from its user, so that the intake can reserve it without reading every order.
ALTER TABLE intents
    ADD COLUMN input_tokens bytea[] NOT NULL DEFAULT '{}',
    ADD COLUMN input_amounts numeric(78, 0)[] NOT NULL DEFAULT '{}';
