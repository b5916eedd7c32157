-- Who prepares and analyses a workflow, chosen when it is accepted; and of Jobs with PEcAn's R, the stage that R is in, how
-- many were lost (killed, evicted) since the latest retry, and the uid of the last of them, so that each counts once.

ALTER TABLE pecan_operator.workflow
  ADD COLUMN framework text NOT NULL DEFAULT 'light' CHECK (framework IN ('light', 'pecan')),
  ADD COLUMN stage text,
  ADD COLUMN losses integer NOT NULL DEFAULT 0,
  ADD COLUMN lost_job text;
