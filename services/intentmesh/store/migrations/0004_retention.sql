-- Who reads an intent's events right now: retention leaves it alone until then.
CREATE TABLE intent_watches (
    intent_id word PRIMARY KEY REFERENCES intents ON DELETE CASCADE,
    until     timestamptz NOT NULL
);
