-- Runs by state of each workflow, kept by triggers: counting 100,000 rows at every step of the loop that publishes and
-- scales would be most of what the database does.

CREATE TABLE pecan_operator.tally (
  workflow_id bigint PRIMARY KEY REFERENCES pecan_operator.workflow ON DELETE CASCADE,
  planned     bigint NOT NULL,
  queued      bigint NOT NULL,
  running     bigint NOT NULL,
  succeeded   bigint NOT NULL,
  failed      bigint NOT NULL,
  cancelled   bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO pecan_operator.tally
SELECT workflow_id,
  count(*) FILTER (WHERE state = 'planned'), count(*) FILTER (WHERE state = 'queued'),
  count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'succeeded'),
  count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled')
FROM pecan_operator.run GROUP BY workflow_id;

-- The rows of tally are locked last and by workflow id, as the ledger's order of locks wants it. Nothing deletes runs but
-- the deletion of their workflow, which deletes its row here too.
CREATE FUNCTION pecan_operator.add_to_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO pecan_operator.tally AS tally
  SELECT workflow_id,
    count(*) FILTER (WHERE state = 'planned'), count(*) FILTER (WHERE state = 'queued'),
    count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'succeeded'),
    count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled')
  FROM after_rows GROUP BY workflow_id ORDER BY workflow_id
  ON CONFLICT (workflow_id) DO UPDATE SET
    planned = tally.planned + excluded.planned,
    queued = tally.queued + excluded.queued,
    running = tally.running + excluded.running,
    succeeded = tally.succeeded + excluded.succeeded,
    failed = tally.failed + excluded.failed,
    cancelled = tally.cancelled + excluded.cancelled;
  RETURN NULL;
END $$;

CREATE FUNCTION pecan_operator.change_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM pecan_operator.tally WHERE workflow_id IN (SELECT workflow_id FROM after_rows)
  ORDER BY workflow_id FOR NO KEY UPDATE;
  UPDATE pecan_operator.tally SET
    planned = tally.planned + change.planned,
    queued = tally.queued + change.queued,
    running = tally.running + change.running,
    succeeded = tally.succeeded + change.succeeded,
    failed = tally.failed + change.failed,
    cancelled = tally.cancelled + change.cancelled
  FROM (
    SELECT workflow_id,
      coalesce(sum(rows) FILTER (WHERE state = 'planned'), 0) AS planned,
      coalesce(sum(rows) FILTER (WHERE state = 'queued'), 0) AS queued,
      coalesce(sum(rows) FILTER (WHERE state = 'running'), 0) AS running,
      coalesce(sum(rows) FILTER (WHERE state = 'succeeded'), 0) AS succeeded,
      coalesce(sum(rows) FILTER (WHERE state = 'failed'), 0) AS failed,
      coalesce(sum(rows) FILTER (WHERE state = 'cancelled'), 0) AS cancelled
    FROM (
      SELECT workflow_id, state, count(*) AS rows FROM after_rows GROUP BY workflow_id, state
      UNION ALL
      SELECT workflow_id, state, -count(*) FROM before_rows GROUP BY workflow_id, state
    ) AS moved GROUP BY workflow_id
  ) AS change WHERE tally.workflow_id = change.workflow_id;
  RETURN NULL;
END $$;

CREATE TRIGGER add_to_tally AFTER INSERT ON pecan_operator.run
  REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION pecan_operator.add_to_tally();
CREATE TRIGGER change_tally AFTER UPDATE ON pecan_operator.run
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION pecan_operator.change_tally();

DROP INDEX pecan_operator.run_open;
DROP INDEX pecan_operator.run_state;
CREATE INDEX run_queued ON pecan_operator.run (queue) WHERE state = 'queued';
