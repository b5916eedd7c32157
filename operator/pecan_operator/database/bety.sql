-- The part of BETY that a workflow touches, in BETY's published form: names, types, constraints and unique keys are those
-- PEcAn's R, web page, API and monitor rely on. A section is run only when what it is called after does not exist, so
-- that a restored BETY is used as it is. Every table also gets `<table>_id_seq` in the node's id range as the default of
-- its id, and, if it has `updated_at`, the trigger `update_<table>_timestamp`.
--
-- Left out, since their tables are: the foreign key from priors to citations, and the trigger on variables that guards
-- recorded traits against a narrower range.

--: domain level_of_access
CREATE DOMAIN level_of_access AS integer NOT NULL
  CONSTRAINT level_of_access_check CHECK (VALUE BETWEEN 1 AND 4);

--: function utc_now()
CREATE FUNCTION utc_now() RETURNS timestamp STABLE LANGUAGE sql
  AS $$ SELECT current_timestamp AT TIME ZONE 'UTC' $$;

--: function update_timestamp()
CREATE FUNCTION update_timestamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A statement that sets updated_at itself is obeyed.
  IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
    NEW.updated_at := public.utc_now();
  END IF;
  RETURN NEW;
END $$;

--: function normalize_whitespace(text)
CREATE FUNCTION normalize_whitespace(string text) RETURNS text IMMUTABLE LANGUAGE sql
  AS $$ SELECT btrim(regexp_replace(string, '\s+', ' ', 'g')) $$;

--: function is_whitespace_normalized(text)
CREATE FUNCTION is_whitespace_normalized(string text) RETURNS boolean IMMUTABLE LANGUAGE sql
  AS $$ SELECT string = public.normalize_whitespace(string) $$;

--: function is_whitespace_free(text)
CREATE FUNCTION is_whitespace_free(string text) RETURNS boolean IMMUTABLE LANGUAGE sql
  AS $$ SELECT string !~ '[\s\u00a0]' $$;

--: function is_host_address(text)
CREATE FUNCTION is_host_address(string text) RETURNS boolean IMMUTABLE LANGUAGE sql
  AS $$ SELECT string ~ '^([\w.~!$&''()*+,;=-]|%[[:xdigit:]]{2})+$' $$;

--: function is_wellformed_email(text)
CREATE FUNCTION is_wellformed_email(string text) RETURNS boolean IMMUTABLE LANGUAGE sql
  AS $$ SELECT string ~ '^([\w.~!$&''()*+,;=:@-]|%[[:xdigit:]]{2})+@([\w.~!$&''()*+,;=-]|%[[:xdigit:]]{2})+$' $$;

--: function is_numerical(text)
CREATE FUNCTION is_numerical(string text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
  PERFORM string::double precision;
  RETURN true;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$;

--: table users
CREATE TABLE users (
  id bigint PRIMARY KEY,
  login varchar(40) NOT NULL CONSTRAINT valid_user_login CHECK (login ~ '^[a-z\d_][a-z\d_.@-]{2,39}$'),
  name varchar(100) NOT NULL DEFAULT '' CONSTRAINT normalized_user_name CHECK (is_whitespace_normalized(name)),
  email varchar(100) NOT NULL CONSTRAINT well_formed_user_email CHECK (is_wellformed_email(email)),
  city varchar(255) NOT NULL DEFAULT '' CONSTRAINT normalized_user_city_name CHECK (is_whitespace_normalized(city)),
  country varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_user_country_name CHECK (is_whitespace_normalized(country)),
  area varchar(255),
  crypted_password varchar(40) NOT NULL
    CONSTRAINT valid_user_crypted_password_value CHECK (crypted_password ~ '^[0-9a-f]{1,40}$'),
  salt varchar(40),
  remember_token varchar(40),
  remember_token_expires_at timestamp(6),
  access_level level_of_access,
  page_access_level level_of_access,
  apikey varchar(255) CONSTRAINT valid_user_apikey_value CHECK (apikey ~ '^[0-9a-zA-Z+/]{40}$'),
  state_prov varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_stat_prov_name CHECK (is_whitespace_normalized(state_prov)),
  postal_code varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_postal_code CHECK (is_whitespace_normalized(postal_code)),
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE UNIQUE INDEX index_users_on_login ON users (login);

--: table machines
CREATE TABLE machines (
  id bigint PRIMARY KEY,
  hostname varchar(255) NOT NULL CONSTRAINT unique_hostnames UNIQUE
    CONSTRAINT well_formed_machine_hostname CHECK (is_host_address(hostname)),
  sync_host_id bigint CONSTRAINT unique_sync_host_id UNIQUE,
  sync_url varchar(255),
  sync_contact varchar(255),
  sync_start bigint,
  sync_end bigint,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);

--: table mimetypes
CREATE TABLE mimetypes (
  id bigint PRIMARY KEY,
  type_string varchar(255) NOT NULL CONSTRAINT unique_type_string UNIQUE
    CONSTRAINT valid_mime_type CHECK (type_string ~ ('^(application|audio|chemical|drawing|image|i-world|message|model'
      || '|multipart|music|paleovu|text|video|windows|www|x-conference|xgl|x-music|x-world)/[a-z.0-9_-]+'
      || '( \((old|compiled elisp)\))?$'))
);

--: table formats
CREATE TABLE formats (
  id bigint PRIMARY KEY,
  name varchar(255) NOT NULL CONSTRAINT normalized_format_name CHECK (is_whitespace_normalized(name)),
  notes text NOT NULL DEFAULT '',
  header varchar(255) NOT NULL DEFAULT '',
  skip varchar(255) NOT NULL DEFAULT '',
  mimetype_id bigint,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);

--: table modeltypes
CREATE TABLE modeltypes (
  id bigint PRIMARY KEY,
  name varchar(255) NOT NULL CONSTRAINT no_spaces_in_modeltype_name CHECK (is_whitespace_free(name)),
  user_id bigint CONSTRAINT fk_modeltypes_users_1 REFERENCES users,
  created_at timestamp DEFAULT utc_now(),
  updated_at timestamp DEFAULT utc_now()
);
CREATE UNIQUE INDEX index_modeltypes_on_name ON modeltypes (name);

--: table modeltypes_formats
CREATE TABLE modeltypes_formats (
  id bigint PRIMARY KEY,
  modeltype_id bigint NOT NULL CONSTRAINT fk_modeltypes_formats_modeltypes_1 REFERENCES modeltypes ON DELETE CASCADE,
  tag varchar(255) NOT NULL CONSTRAINT valid_modeltype_format_tag CHECK (tag ~ '^[a-z]+$'),
  format_id bigint NOT NULL CONSTRAINT fk_modeltypes_formats_formats_1 REFERENCES formats ON DELETE CASCADE,
  required boolean NOT NULL DEFAULT false,
  input boolean NOT NULL DEFAULT true,
  user_id bigint CONSTRAINT fk_modeltypes_formats_users_1 REFERENCES users,
  created_at timestamp DEFAULT utc_now(),
  updated_at timestamp DEFAULT utc_now()
);
CREATE UNIQUE INDEX index_modeltypes_formats_on_modeltype_id_and_tag ON modeltypes_formats (modeltype_id, tag);
CREATE UNIQUE INDEX index_modeltypes_formats_on_modeltype_id_format_id_input
  ON modeltypes_formats (modeltype_id, format_id, input);

--: table models
CREATE TABLE models (
  id bigint PRIMARY KEY,
  model_name varchar(255) NOT NULL CONSTRAINT no_spaces_in_model_name CHECK (is_whitespace_free(model_name)),
  revision varchar(255) NOT NULL CONSTRAINT normalized_revision_specifier CHECK (is_whitespace_normalized(revision)),
  parent_id bigint CONSTRAINT fk_models_models_1 REFERENCES models,
  modeltype_id bigint NOT NULL CONSTRAINT fk_models_modeltypes_1 REFERENCES modeltypes,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE INDEX index_models_on_parent_id ON models (parent_id);

--: table variables
CREATE TABLE variables (
  id bigint PRIMARY KEY,
  name varchar(255) NOT NULL CONSTRAINT normalized_variable_name CHECK (is_whitespace_normalized(name)),
  description varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_variable_description CHECK (is_whitespace_normalized(description)),
  units varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_variable_units_specifier CHECK (is_whitespace_normalized(units)),
  notes text NOT NULL DEFAULT '',
  max varchar(255) NOT NULL DEFAULT 'Infinity' CONSTRAINT variable_max_is_a_number CHECK (is_numerical(max)),
  min varchar(255) NOT NULL DEFAULT '-Infinity' CONSTRAINT variable_min_is_a_number CHECK (is_numerical(min)),
  standard_name varchar(255),
  standard_units varchar(255),
  label varchar(255),
  type varchar(255),
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT variable_min_is_less_than_max CHECK (min::double precision <= max::double precision)
);

--: table priors
CREATE TABLE priors (
  id bigint PRIMARY KEY,
  citation_id bigint,
  variable_id bigint NOT NULL CONSTRAINT fk_priors_variables_1 REFERENCES variables,
  phylogeny varchar(255) NOT NULL
    CONSTRAINT normalized_prior_phylogeny_specifier CHECK (is_whitespace_normalized(phylogeny)),
  distn varchar(255) NOT NULL CONSTRAINT valid_prior_distn CHECK (distn IN (
    'beta', 'binom', 'cauchy', 'chisq', 'exp', 'f', 'gamma', 'geom', 'hyper', 'lnorm', 'logis', 'nbinom', 'norm', 'pois',
    't', 'unif', 'weibull', 'wilcox')),
  parama double precision NOT NULL,
  paramb double precision,
  paramc double precision,
  n integer CONSTRAINT nonnegative_prior_sample_size CHECK (n >= 0),
  notes text,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE INDEX index_priors_on_variable_id ON priors (variable_id);

--: table pfts
CREATE TABLE pfts (
  id bigint PRIMARY KEY,
  name varchar(255) NOT NULL CONSTRAINT normalized_pft_name CHECK (is_whitespace_normalized(name)),
  definition text NOT NULL,
  parent_id bigint CONSTRAINT fk_pfts_pfts_1 REFERENCES pfts,
  pft_type varchar(255) NOT NULL DEFAULT 'plant'
    CONSTRAINT valid_pft_type CHECK (pft_type IN ('plant', 'cultivar', '')),
  modeltype_id bigint NOT NULL CONSTRAINT fk_pfts_modeltypes_1 REFERENCES modeltypes,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT unique_names_per_modeltype UNIQUE (name, modeltype_id)
);

--: table posteriors
CREATE TABLE posteriors (
  id bigint PRIMARY KEY,
  pft_id bigint NOT NULL CONSTRAINT fk_posteriors_pfts_1 REFERENCES pfts,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE INDEX index_posteriors_on_pft_id ON posteriors (pft_id);

--: table posterior_samples
CREATE TABLE posterior_samples (
  id bigint PRIMARY KEY,
  posterior_id bigint CONSTRAINT fk_posterior_samples_posteriors_1 REFERENCES posteriors,
  variable_id bigint CONSTRAINT fk_posterior_samples_variables_1 REFERENCES variables,
  pft_id bigint CONSTRAINT fk_posterior_samples_pfts_1 REFERENCES pfts,
  parent_id bigint CONSTRAINT fk_posterior_samples_posterior_samples_1 REFERENCES posterior_samples,
  created_at timestamp DEFAULT utc_now(),
  updated_at timestamp DEFAULT utc_now()
);

--: table sites
CREATE TABLE sites (
  id bigint PRIMARY KEY,
  sitename varchar(255) NOT NULL CONSTRAINT normalized_site_sitename CHECK (is_whitespace_normalized(sitename)),
  city varchar(255) NOT NULL DEFAULT '' CONSTRAINT normalized_site_city_name CHECK (is_whitespace_normalized(city)),
  state varchar(255) NOT NULL DEFAULT '' CONSTRAINT normalized_site_state_name CHECK (is_whitespace_normalized(state)),
  country varchar(255) NOT NULL DEFAULT ''
    CONSTRAINT normalized_site_country_name CHECK (is_whitespace_normalized(country)),
  mat numeric(4, 2) CONSTRAINT valid_site_mat_value CHECK (mat BETWEEN -25 AND 40),
  map integer CONSTRAINT valid_site_map_value CHECK (map BETWEEN 0 AND 12000),
  soil varchar(255) NOT NULL DEFAULT '',
  som numeric(4, 2) CONSTRAINT valid_site_som_value CHECK (som BETWEEN 0 AND 100),
  notes text NOT NULL DEFAULT '',
  soilnotes text NOT NULL DEFAULT '',
  greenhouse boolean,
  user_id bigint CONSTRAINT fk_sites_users_1 REFERENCES users,
  sand_pct numeric(9, 5),
  clay_pct numeric(9, 5),
  geometry geometry(GeometryZ, 4326)
    CONSTRAINT enforce_valid_geom CHECK (ST_IsValid(geometry))
    CONSTRAINT valid_site_geometry_specification CHECK (ST_X(ST_Centroid(geometry)) BETWEEN -180 AND 180
      AND ST_Y(ST_Centroid(geometry)) BETWEEN -90 AND 90 AND ST_Z(ST_Centroid(geometry)) BETWEEN -418 AND 8848),
  time_zone text,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT valid_site_sand_and_clay_percentage_values CHECK (sand_pct BETWEEN 0 AND 100 AND clay_pct BETWEEN 0 AND 100
    AND sand_pct + clay_pct <= 100)
);
CREATE INDEX index_sites_on_geometry ON sites USING gist (geometry);
CREATE INDEX index_sites_on_user_id ON sites (user_id);

--: table inputs
CREATE TABLE inputs (
  id bigint PRIMARY KEY,
  site_id bigint CONSTRAINT fk_inputs_sites_1 REFERENCES sites,
  name varchar(255) NOT NULL CONSTRAINT normalized_input_name CHECK (is_whitespace_normalized(name)),
  notes text NOT NULL DEFAULT '',
  start_date timestamp(6),
  end_date timestamp(6),
  parent_id bigint CONSTRAINT fk_inputs_inputs_1 REFERENCES inputs,
  user_id bigint CONSTRAINT fk_inputs_users_1 REFERENCES users,
  access_level level_of_access DEFAULT 4,
  raw boolean,
  format_id bigint CONSTRAINT fk_inputs_formats_1 REFERENCES formats,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE INDEX index_inputs_on_format_id ON inputs (format_id);
CREATE INDEX index_inputs_on_parent_id ON inputs (parent_id);
CREATE INDEX index_inputs_on_site_id ON inputs (site_id);

--: table dbfiles
CREATE OR REPLACE FUNCTION dbfile_container_exists(type text, id bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  found boolean;
  rows boolean;
BEGIN
  EXECUTE format('SELECT EXISTS (SELECT FROM public.%1$I WHERE id = $1), EXISTS (SELECT FROM public.%1$I)',
    lower(type) || 's') INTO found, rows USING id;
  -- An empty table is not held against a row: a dump is restored in the order of the tables' names.
  RETURN found OR NOT rows;
END $$;

CREATE OR REPLACE FUNCTION forbid_dangling_references() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (TG_OP = 'DELETE' OR NEW.id <> OLD.id) AND EXISTS (
    SELECT FROM public.dbfiles WHERE container_type = TG_ARGV[0] AND container_id = OLD.id)
  THEN
    RAISE NOTICE '% % stays as it is: a row of dbfiles refers to it.', TG_ARGV[0], OLD.id;
    RETURN NULL;
  END IF;
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE OR REPLACE FUNCTION forbid_truncating_referents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM public.dbfiles WHERE container_type = TG_ARGV[0]) THEN
    RAISE EXCEPTION 'Table % cannot be truncated: rows of dbfiles refer to it.', TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END $$;

CREATE TABLE dbfiles (
  id bigint PRIMARY KEY,
  file_name varchar(255) NOT NULL CONSTRAINT no_slash_in_file_name CHECK (file_name !~ '/'),
  file_path varchar(255) NOT NULL CONSTRAINT file_path_sanity_check CHECK (file_path ~ '^/'),
  md5 varchar(255) CONSTRAINT valid_dbfile_md5_hash_value CHECK (md5 ~ '^([\da-z]{32})?$'),
  created_user_id bigint CONSTRAINT fk_dbfiles_users_1 REFERENCES users,
  updated_user_id bigint CONSTRAINT fk_dbfiles_users_2 REFERENCES users,
  machine_id bigint NOT NULL CONSTRAINT fk_dbfiles_machines_1 REFERENCES machines,
  container_type varchar(255)
    CONSTRAINT valid_dbfile_container_type CHECK (container_type IN ('Model', 'Posterior', 'Input')),
  container_id bigint,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT unique_filename_and_path_per_machine UNIQUE (file_name, file_path, machine_id),
  CONSTRAINT valid_input_refs CHECK (container_type <> 'Input' OR dbfile_container_exists('Input', container_id)),
  CONSTRAINT valid_model_refs CHECK (container_type <> 'Model' OR dbfile_container_exists('Model', container_id)),
  CONSTRAINT valid_posterior_refs
    CHECK (container_type <> 'Posterior' OR dbfile_container_exists('Posterior', container_id))
);
CREATE INDEX index_dbfiles_on_container_id_and_container_type ON dbfiles (container_id, container_type);
CREATE INDEX index_dbfiles_on_machine_id ON dbfiles (machine_id);

CREATE OR REPLACE TRIGGER forbid_dangling_input_references BEFORE DELETE OR UPDATE ON inputs
  FOR EACH ROW EXECUTE FUNCTION forbid_dangling_references('Input');
CREATE OR REPLACE TRIGGER forbid_dangling_model_references BEFORE DELETE OR UPDATE ON models
  FOR EACH ROW EXECUTE FUNCTION forbid_dangling_references('Model');
CREATE OR REPLACE TRIGGER forbid_dangling_posterior_references BEFORE DELETE OR UPDATE ON posteriors
  FOR EACH ROW EXECUTE FUNCTION forbid_dangling_references('Posterior');
CREATE OR REPLACE TRIGGER forbid_truncating_input_referents AFTER TRUNCATE ON inputs
  FOR EACH STATEMENT EXECUTE FUNCTION forbid_truncating_referents('Input');
CREATE OR REPLACE TRIGGER forbid_truncating_model_referents AFTER TRUNCATE ON models
  FOR EACH STATEMENT EXECUTE FUNCTION forbid_truncating_referents('Model');
CREATE OR REPLACE TRIGGER forbid_truncating_posterior_referents AFTER TRUNCATE ON posteriors
  FOR EACH STATEMENT EXECUTE FUNCTION forbid_truncating_referents('Posterior');

--: table workflows
CREATE TABLE workflows (
  id bigint PRIMARY KEY,
  folder varchar(255) NOT NULL CONSTRAINT normalized_workflow_folder_name CHECK (is_whitespace_normalized(folder)),
  started_at timestamp(6),
  finished_at timestamp(6),
  site_id bigint CONSTRAINT fk_workflows_sites_1 REFERENCES sites,
  model_id bigint NOT NULL CONSTRAINT fk_workflows_models_1 REFERENCES models,
  hostname varchar(255) NOT NULL CONSTRAINT normalized_workflow_hostname CHECK (is_whitespace_normalized(hostname)),
  params text NOT NULL DEFAULT '' CONSTRAINT normalized_workflow_params_value CHECK (is_whitespace_normalized(params)),
  advanced_edit boolean NOT NULL DEFAULT false,
  start_date timestamp(6),
  end_date timestamp(6),
  notes text,
  user_id bigint CONSTRAINT fk_workflows_users_1 REFERENCES users,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);

--: table ensembles
CREATE TABLE ensembles (
  id bigint PRIMARY KEY,
  notes text NOT NULL DEFAULT '',
  runtype varchar(255) NOT NULL,
  workflow_id bigint CONSTRAINT fk_ensembles_workflows_1 REFERENCES workflows,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);

--: table posteriors_ensembles
CREATE TABLE posteriors_ensembles (
  id bigint PRIMARY KEY,
  posterior_id bigint CONSTRAINT fk_posteriors_ensembles_posteriors_1 REFERENCES posteriors ON DELETE CASCADE,
  ensemble_id bigint CONSTRAINT fk_posteriors_ensembles_ensembles_1 REFERENCES ensembles ON DELETE CASCADE,
  created_at timestamp DEFAULT utc_now(),
  updated_at timestamp DEFAULT utc_now()
);

--: table runs
CREATE TABLE runs (
  id bigint PRIMARY KEY,
  model_id bigint NOT NULL CONSTRAINT fk_runs_models_1 REFERENCES models,
  site_id bigint NOT NULL CONSTRAINT fk_runs_sites_1 REFERENCES sites,
  start_time timestamp(6) NOT NULL,
  finish_time timestamp(6) NOT NULL,
  outdir varchar(255) NOT NULL DEFAULT '',
  outprefix varchar(255) NOT NULL DEFAULT '',
  setting varchar(255) NOT NULL DEFAULT '',
  parameter_list text NOT NULL,
  started_at timestamp(6),
  finished_at timestamp(6),
  ensemble_id bigint NOT NULL CONSTRAINT fk_runs_ensembles_1 REFERENCES ensembles,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT unique_time_interval_per_model_site_parameter_list_and_ensemble
    UNIQUE (model_id, site_id, start_time, finish_time, parameter_list, ensemble_id)
);
CREATE INDEX index_runs_on_ensemble_id ON runs (ensemble_id);
CREATE INDEX index_runs_on_model_id ON runs (model_id);
CREATE INDEX index_runs_on_site_id ON runs (site_id);

--: table inputs_runs
CREATE TABLE inputs_runs (
  id bigint PRIMARY KEY,
  input_id bigint NOT NULL CONSTRAINT fk_inputs_runs_inputs_1 REFERENCES inputs ON DELETE CASCADE,
  run_id bigint NOT NULL CONSTRAINT fk_inputs_runs_runs_1 REFERENCES runs ON DELETE CASCADE,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now(),
  CONSTRAINT unique_input_run_pair UNIQUE (input_id, run_id)
);

--: table likelihoods
CREATE TABLE likelihoods (
  id bigint PRIMARY KEY,
  run_id bigint NOT NULL CONSTRAINT fk_likelihoods_runs_1 REFERENCES runs,
  variable_id bigint NOT NULL CONSTRAINT fk_likelihoods_variables_1 REFERENCES variables,
  input_id bigint NOT NULL CONSTRAINT fk_likelihoods_inputs_1 REFERENCES inputs,
  loglikelihood double precision,
  n_eff double precision,
  weight double precision,
  residual double precision,
  created_at timestamp(6) DEFAULT utc_now(),
  updated_at timestamp(6) DEFAULT utc_now()
);
CREATE INDEX index_likelihoods_on_run_id ON likelihoods (run_id);

--: table attributes
CREATE TABLE attributes (
  id bigint PRIMARY KEY,
  container_type varchar NOT NULL,
  container_id bigint NOT NULL,
  value jsonb NOT NULL DEFAULT '{}',
  created_at timestamp NOT NULL DEFAULT utc_now(),
  updated_at timestamp NOT NULL DEFAULT utc_now(),
  CONSTRAINT container_type_id UNIQUE (container_type, container_id)
);
CREATE INDEX index_attributes_on_container_id ON attributes (container_id);
CREATE INDEX index_attributes_on_value ON attributes USING gin (value);

--: table schema_migrations
CREATE TABLE schema_migrations (
  version varchar(255) NOT NULL
);
CREATE UNIQUE INDEX unique_schema_migrations ON schema_migrations (version);
-- The versions PEcAn's R insists on; what they brought is above.
INSERT INTO schema_migrations (version)
VALUES ('1'), ('20140617163304'), ('20140708232320'), ('20140729045640'), ('20151011190026');
