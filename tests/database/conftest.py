"""A real PostgreSQL with PostGIS for the tests: a fresh cluster in a temporary folder, reached by its socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from workflow_support.r_framework import PFT, bety_rows

from pecan_operator.clients.bety import Bety
from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger import Ledger
from pecan_operator.database.job import prepare
from pecan_operator.database.settings import JobSettings
from pecan_operator.records import RunChange, RunKey, RunPlan, RunState, WorkflowRequest, WorkflowRow

SUPERUSER_PASSWORD = "superSecret1superSecret1superSec"
BETY_PASSWORD = "betySecret2betySecret2betySecret"
LEDGER_PASSWORD = "ledgerSecret3ledgerSecret3ledger"
PORT = 54391
START_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A running server; `host` is the folder of its socket."""

    host: str
    port: int

    def settings(self, dbname: str = "bety", **other: object) -> JobSettings:
        """What the database Job is told about this server."""
        values: dict[str, object] = {
            "host": self.host,
            "port": self.port,
            "user": "postgres",
            "password": SUPERUSER_PASSWORD,
            "dbname": dbname,
            "bety_password": BETY_PASSWORD,
            "ledger_password": LEDGER_PASSWORD,
            "hostname": "docker",
            "local_server": 99,
        }
        return JobSettings(**{**values, **other})  # type: ignore[arg-type]

    def connect(self, dbname: str = "bety", user: str = "postgres", password: str = SUPERUSER_PASSWORD):
        """A bare connection, by default as the superuser."""
        return psycopg2.connect(host=self.host, port=self.port, dbname=dbname, user=user, password=password)

    def database(self, user: str, password: str, dbname: str = "bety", **other: Any) -> Database:
        """The client under test."""
        return Database(host=self.host, port=self.port, user=user, password=password, dbname=dbname, **other)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _owner() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("needs a user postgres or nobody to run PostgreSQL as")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """An empty server; passwords are checked on it as on a real one."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql-15, postgresql-15-postgis-3)")
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="pecan-postgres-"))
    process = None
    try:
        (folder / "password").write_text(SUPERUSER_PASSWORD)
        if owner:
            for path in (folder, folder / "password"):
                os.chown(path, owner["user"], owner["group"])  # type: ignore[arg-type]
        options = ["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=scram-sha-256"]
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", f"--pwfile={folder / 'password'}", *options],
            check=True,
            capture_output=True,
            cwd=folder,
            **owner,  # type: ignore[call-overload]
        )
        settings = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "deadlock_timeout": "100ms"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", "-k", folder, "-p", str(PORT), *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                **owner,  # type: ignore[call-overload]
            )
        running = Server(str(folder), PORT)
        _await(running, process, folder / "log")
        with closing(running.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_available_extensions WHERE name = 'postgis'")
            if cursor.fetchone() is None:
                pytest.skip("PostGIS is not installed for this PostgreSQL (Debian: postgresql-15-postgis-3)")
        yield running
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
        shutil.rmtree(folder)


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect("postgres").close()
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def prepared(server: Server) -> Server:
    """The server after the database Job."""
    prepare(server.settings())
    return server


@pytest.fixture(scope="session")
def pfts_of_r(prepared: Server) -> None:
    """What PEcAn's R wants of a restored BETY."""
    with closing(prepared.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(bety_rows("JOURNAL", PFT))


@pytest.fixture(scope="session")
def ledger_database(prepared: Server) -> Iterator[Database]:
    """Database bety as role pecan_operator."""
    database = prepared.database("pecan_operator", LEDGER_PASSWORD, max_connections=8)
    yield database
    database.close()


@pytest.fixture(scope="session")
def bety_database(prepared: Server) -> Iterator[Database]:
    """Database bety as role bety."""
    database = prepared.database("bety", BETY_PASSWORD)
    yield database
    database.close()


@pytest.fixture
def ledger(ledger_database: Database) -> Iterator[Ledger]:
    """An empty ledger."""
    yield Ledger(ledger_database)
    with ledger_database.transaction() as cursor:
        cursor.execute(
            "TRUNCATE pecan_operator.workflow, pecan_operator.run, pecan_operator.tally, pecan_operator.setting"
        )


@pytest.fixture
def model_id(ledger_database: Database) -> int:
    """A registered model."""
    return Bety(ledger_database).register_model(
        hostname="docker", model_type="DALEC", name="DALEC", revision="ev", binary="/work/run"
    )


@pytest.fixture
def request_for(model_id: int) -> Callable[..., WorkflowRequest]:
    """`request_for(uid, **changed)`."""

    def make(uid: str, **changed: object) -> WorkflowRequest:
        plain = WorkflowRequest(
            uid=uid,
            namespace="pecan",
            name=f"workflow-{uid}",
            model_id=model_id,
            queue="DALEC_ev",
            hostname="docker",
            start_date="1997-01-01",
            end_date="1999-12-31",
            params={},
            notes="",
            priority=0,
            max_parallel=None,
            max_attempts=3,
            stop_on_error=False,
            suspended=False,
            folder_policy="Retain",
        )
        return replace(plain, **changed)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def plans() -> Callable[[WorkflowRow, int], list[RunPlan]]:
    """`plans(workflow, count)`: runs `0`, `1`, ..."""

    def make(workflow: WorkflowRow, count: int) -> list[RunPlan]:
        return [
            RunPlan(
                run_id=str(number),
                folder=f"{workflow.folder}/run/{number}",
                outdir=f"{workflow.folder}/out/{number}",
                expect=("1997.nc", "1998.nc"),
                run_type="ensemble",
                site_id="772",
                site_name="Loobos",
                member=number + 1,
            )
            for number in range(count)
        ]

    return make


@pytest.fixture
def write(ledger: Ledger, ledger_database: Database) -> Callable[..., None]:
    """`write(key, state, attempt=1, **columns)`."""

    def make(key: RunKey, state: RunState, attempt: int = 1, **columns: object) -> None:
        with ledger_database.transaction() as cursor:
            ledger.write_runs(cursor, [RunChange(key, state, attempt, **columns)])  # type: ignore[arg-type]

    return make


@pytest.fixture
def bety_run(bety_database: Database, model_id: int) -> Callable[[WorkflowRow], int]:
    """`bety_run(workflow)`: id of a new row of BETY's runs."""

    def make(workflow: WorkflowRow) -> int:
        bety = Bety(bety_database)
        site = bety.site(name="Loobos", lat=52.17, lon=5.74)
        ensemble = bety.ensemble(workflow_id=workflow.workflow_id, runtype="ensemble")
        [run_id] = bety.runs(ensemble, model_id, [(site, "1997-01-01", "1999-12-31", "ensemble=1", "")])
        return run_id

    return make
