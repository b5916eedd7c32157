#!/bin/bash
# The extensions the published image creates in a new database.
set -euo pipefail

psql --set=ON_ERROR_STOP=1 --quiet <<'SQL'
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS postgis_topology;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;
CREATE EXTENSION IF NOT EXISTS postgis_tiger_geocoder;
SQL
