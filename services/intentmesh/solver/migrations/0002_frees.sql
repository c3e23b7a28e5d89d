-- How often tokens that were held back for a job were freed: a balance that was read before the last time may not show yet
-- what that job has paid, and nothing is held back for it any more.
CREATE TABLE solver_frees (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    frees     bigint NOT NULL
);
INSERT INTO solver_frees (frees) VALUES (0);
