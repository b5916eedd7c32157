-- What role pecan_operator needs of BETY to accept workflows, register models and stamp runs; and that nobody but it has a
-- right on the ledger.
REVOKE ALL ON SCHEMA pecan_operator FROM PUBLIC, bety;

GRANT SELECT ON public.machines, public.modeltypes, public.models, public.dbfiles, public.inputs, public.posteriors,
  public.sites, public.workflows, public.ensembles, public.runs TO pecan_operator;
GRANT INSERT ON public.machines, public.modeltypes, public.models, public.dbfiles, public.workflows TO pecan_operator;
GRANT UPDATE (start_date, end_date, finished_at) ON public.workflows TO pecan_operator;
GRANT UPDATE (started_at, finished_at) ON public.runs TO pecan_operator;
GRANT USAGE ON SEQUENCE public.machines_id_seq, public.modeltypes_id_seq, public.models_id_seq, public.dbfiles_id_seq,
  public.workflows_id_seq TO pecan_operator;
