-- Running failed runs again: the latest spec.retryGeneration that was carried out, and of each run how many attempts do not
-- count any more for max_attempts. Attempts themselves only ever grow.

ALTER TABLE pecan_operator.workflow ADD COLUMN retry_generation integer NOT NULL DEFAULT 0;
ALTER TABLE pecan_operator.run ADD COLUMN attempts_before integer NOT NULL DEFAULT 0;
