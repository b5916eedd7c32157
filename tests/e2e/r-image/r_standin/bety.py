"""What R asks of BETY and writes there, with the credentials that stand in the settings. Each statement is its own
transaction, as in PEcAn: a killed R leaves what it has written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from r_standin.logger import info, severe, stop
from r_standin.settings import Settings

DRIVERS = ("PostgreSQL", "Postgres")
DEFAULTS = {"user": "bety", "password": "bety", "host": "localhost", "port": "5432", "dbname": "bety"}
MIGRATIONS = {"1", "20140617163304", "20140708232320", "20140729045640", "20151011190026"}
CONNECT_SECONDS = 10

Prior = tuple[str, float, float | None]


class Bety(Protocol):
    """BETY as the stages need it. Ids are those of its tables."""

    def check(self) -> None: ...
    def machine(self, hostname: str) -> int | None: ...
    def model(self, model_id: int) -> tuple[str, str] | None: ...
    def binary(self, model_id: int, machine_id: int) -> str | None: ...
    def site(self, site_id: int) -> tuple[str, float, float] | None: ...
    def pft(self, name: str, model_type: str) -> int | None: ...
    def has_workflow(self, workflow_id: int) -> bool: ...
    def ensembles(self, workflow_id: int) -> int: ...
    def priors(self, pft_id: int) -> Mapping[str, Prior]: ...
    def add_posterior(self, pft_id: int) -> int: ...
    def add_file(self, container: str, container_id: int, machine_id: int, folder: str, name: str) -> None: ...
    def add_ensemble(self, runtype: str, workflow_id: int, posterior_ids: Sequence[str]) -> int: ...
    def add_run(self, model_id: int, site_id: int, days: tuple[str, str], ensemble_id: int, parameters: str) -> int: ...
    def finish(self, workflow_id: int) -> None: ...
    def close(self) -> None: ...


def connection_of(settings: Settings) -> dict[str, str]:
    """database/bety as R hands it to its driver, with PEcAn's defaults; a tag that the driver does not know is an error."""
    node = settings.root.find("database/bety")
    if node is None:
        raise severe("run.write.configs", "pecan.xml has no database/bety, without which R writes no configs")
    given = {child.tag: (child.text or "").strip() for child in node}
    driver = given.pop("driver", DRIVERS[0])
    if driver not in DRIVERS:
        raise severe("check.database", f"Database driver `{driver}` is not supported. Please use one of {DRIVERS}.")
    given.pop("write", None)
    if unknown := sorted(set(given) - set(DEFAULTS)):
        raise stop("postgresqlNewConnection", f"unused arguments ({', '.join(unknown)})")
    return {**DEFAULTS, **given}


def connect(settings: Settings) -> Bety:
    """A connection with what stands in the settings. PEcAn logs the password too."""
    import psycopg2  # what needs no database is tested without

    given = connection_of(settings)
    options: dict[str, Any] = {**given, "connect_timeout": CONNECT_SECONDS, "application_name": "R"}
    try:
        connection = psycopg2.connect(**options)
    except psycopg2.Error as error:
        raise severe("check.database", f"Invalid Database Settings : {' '.join(given.values())} : {error}") from None
    connection.autocommit = True
    info("check.database", f"Successfully connected to database : {' '.join(given.values())}")
    return _Database(connection, given["user"], settings.write_rows)


class _Database:
    def __init__(self, connection: Any, user: str, write: bool) -> None:
        self._connection, self._user, self._write = connection, user, write

    def check(self) -> None:
        """check.bety.version, and what db.exists tries with `write`: rights of this very role, and a row to rewrite."""
        versions = {version for (version,) in self._rows("SELECT version FROM schema_migrations")}
        if missing := sorted(MIGRATIONS - versions):
            raise severe("check.bety.version", f"Missing migration {missing[0]}")
        if not self._write:
            return
        grants = self._rows(
            "SELECT privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = %s AND table_schema = 'public' AND table_name = 'users'",
            self._user,
        )
        if not {"SELECT", "INSERT", "UPDATE"} <= {kind for (kind,) in grants}:
            raise severe("check.database", f"Invalid Database Settings : {self._user} may not write to users")
        if not self._rows("UPDATE users SET id = id WHERE id = (SELECT min(id) FROM users) RETURNING id"):
            raise severe("check.database", "Invalid Database Settings : the table users is empty")

    def machine(self, hostname: str) -> int | None:
        found: int | None = self._value("SELECT id FROM machines WHERE hostname = %s", hostname)
        return found

    def model(self, model_id: int) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._row(
            "SELECT modeltypes.name, revision FROM models JOIN modeltypes ON modeltypes.id = modeltype_id"
            " WHERE models.id = %s",
            model_id,
        )
        return found

    def binary(self, model_id: int, machine_id: int) -> str | None:
        found: str | None = self._value(
            "SELECT file_path || '/' || file_name FROM dbfiles"
            " WHERE container_type = 'Model' AND container_id = %s AND machine_id = %s",
            model_id,
            machine_id,
        )
        return found

    def site(self, site_id: int) -> tuple[str, float, float] | None:
        found: tuple[str, float, float] | None = self._row(
            "SELECT sitename, ST_Y(ST_CENTROID(geometry)), ST_X(ST_CENTROID(geometry)) FROM sites WHERE id = %s",
            site_id,
        )
        return found

    def pft(self, name: str, model_type: str) -> int | None:
        found: int | None = self._value(
            "SELECT pfts.id FROM pfts JOIN modeltypes ON modeltypes.id = modeltype_id"
            " WHERE pfts.name = %s AND modeltypes.name = %s",
            name,
            model_type,
        )
        return found

    def has_workflow(self, workflow_id: int) -> bool:
        return bool(self._rows("SELECT 1 FROM workflows WHERE id = %s", workflow_id))

    def ensembles(self, workflow_id: int) -> int:
        return int(self._value("SELECT count(*) FROM ensembles WHERE workflow_id = %s", workflow_id))

    def priors(self, pft_id: int) -> Mapping[str, Prior]:
        rows = self._rows(
            "SELECT variables.name, distn, parama, paramb FROM priors JOIN variables ON variables.id = variable_id"
            " JOIN pfts_priors ON pfts_priors.prior_id = priors.id WHERE pfts_priors.pft_id = %s ORDER BY 1",
            pft_id,
        )
        return {name: (distn, parama, paramb) for name, distn, parama, paramb in rows}

    def add_posterior(self, pft_id: int) -> int:
        return int(self._value("INSERT INTO posteriors (pft_id) VALUES (%s) RETURNING id", pft_id))

    def add_file(self, container: str, container_id: int, machine_id: int, folder: str, name: str) -> None:
        self._rows(
            "INSERT INTO dbfiles (container_type, container_id, file_name, file_path, machine_id)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            container,
            container_id,
            name,
            folder,
            machine_id,
        )

    def add_ensemble(self, runtype: str, workflow_id: int, posterior_ids: Sequence[str]) -> int:
        """A PFT without posterior gives the statement an empty value, as in R."""
        ensemble_id = self._value(
            "INSERT INTO ensembles (runtype, workflow_id) VALUES (%s, %s) RETURNING id", runtype, workflow_id
        )
        for posterior_id in posterior_ids:
            self._rows(
                "INSERT INTO posteriors_ensembles (posterior_id, ensemble_id)"
                f" values ({posterior_id}, {ensemble_id}) RETURNING id"
            )
        return int(ensemble_id)

    def add_run(self, model_id: int, site_id: int, days: tuple[str, str], ensemble_id: int, parameters: str) -> int:
        run_id = self._value(
            "INSERT INTO runs (model_id, site_id, start_time, finish_time, outdir, ensemble_id, parameter_list)"
            " VALUES (%s, %s, %s, %s, '', %s, %s) RETURNING id",
            model_id,
            site_id,
            *days,
            ensemble_id,
            parameters,
        )
        return int(run_id)

    def finish(self, workflow_id: int) -> None:
        self._rows(
            "UPDATE workflows SET finished_at = NOW() WHERE id = %s AND finished_at IS NULL RETURNING id", workflow_id
        )

    def close(self) -> None:
        self._connection.close()

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            raise severe("PEcAn.DB::db.query", f"Error executing db query '{statement}' : {error}") from None

    def _row(self, statement: str, *values: Any) -> Any:
        return next(iter(self._rows(statement, *values)), None)

    def _value(self, statement: str, *values: Any) -> Any:
        return next(iter(self._row(statement, *values) or ()), None)
