-- The ledger: what the operator knows of workflows and runs, kept out of reach of role bety.

CREATE TABLE pecan_operator.workflow (
  workflow_id   bigint PRIMARY KEY,  -- public.workflows.id; no foreign key, since PEcAn's web page deletes such rows
  uid           text NOT NULL UNIQUE,
  namespace     text NOT NULL,
  name          text NOT NULL,
  model_id      bigint NOT NULL,
  queue         text NOT NULL,
  folder        text NOT NULL UNIQUE,
  folder_policy text NOT NULL CHECK (folder_policy IN ('Retain', 'Delete')),
  priority      integer NOT NULL CHECK (priority >= 0),
  max_parallel  integer CHECK (max_parallel >= 1),
  max_attempts  integer NOT NULL CHECK (max_attempts >= 1),
  stop_on_error boolean NOT NULL,
  suspended     boolean NOT NULL,
  accepted_at   timestamptz NOT NULL DEFAULT now(),
  prepared_at   timestamptz,
  analysed_at   timestamptz,
  cancelled_at  timestamptz,
  cancel_reason text,
  finished_at   timestamptz,
  outcome       text CHECK (outcome IN ('Succeeded', 'Failed', 'Cancelled')),
  message       text,
  results       jsonb NOT NULL DEFAULT '{}',
  CHECK ((finished_at IS NULL) = (outcome IS NULL))
);

CREATE INDEX workflow_unfinished ON pecan_operator.workflow (workflow_id) WHERE finished_at IS NULL;

CREATE TABLE pecan_operator.run (
  workflow_id  bigint NOT NULL REFERENCES pecan_operator.workflow ON DELETE CASCADE,
  run_id       text NOT NULL,
  position     integer NOT NULL,
  queue        text NOT NULL,
  folder       text NOT NULL,
  outdir       text NOT NULL,
  expect       text[] NOT NULL,
  state        text NOT NULL DEFAULT 'planned'
               CHECK (state IN ('planned', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
  attempt      integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
  run_type     text NOT NULL,
  site_id      text NOT NULL,
  site_name    text NOT NULL,
  member       integer,
  pft          text,
  trait        text,
  quantile     text,
  bety_run_id  bigint,
  published_at timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  recorded_at  timestamptz,  -- when the final state was written, by this server's clock: workers' clocks differ
  exit_code    integer,
  worker       text,
  last_error   text,
  PRIMARY KEY (workflow_id, run_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Partial indexes: what is over weighs nothing in the loop that publishes and scales.
CREATE INDEX run_open ON pecan_operator.run (queue, workflow_id, state) WHERE state IN ('planned', 'queued', 'running');
CREATE INDEX run_planned ON pecan_operator.run (workflow_id, position) WHERE state = 'planned';
CREATE INDEX run_running ON pecan_operator.run (queue, started_at) WHERE state = 'running';
CREATE INDEX run_failed ON pecan_operator.run (workflow_id, position) WHERE state = 'failed';
CREATE INDEX run_recorded ON pecan_operator.run (recorded_at) WHERE recorded_at IS NOT NULL;
CREATE INDEX run_state ON pecan_operator.run (workflow_id, state);

CREATE TABLE pecan_operator.setting (
  key   text PRIMARY KEY,
  value text NOT NULL
);
