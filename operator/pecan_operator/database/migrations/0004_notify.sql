-- The operator hears of new runs when their transaction is committed, without asking again and again.

CREATE FUNCTION pecan_operator.tell_of_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY pecan_runs;
  RETURN NULL;
END $$;

CREATE TRIGGER tell_of_runs AFTER INSERT ON pecan_operator.run
  FOR EACH STATEMENT EXECUTE FUNCTION pecan_operator.tell_of_runs();
