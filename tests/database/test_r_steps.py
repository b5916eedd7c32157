"""The three steps of a workflow with PEcAn's R, as its Jobs' containers run them, without a cluster: our steps by their
command line, the operator's script by sh, the stand-in as R, BETY and the ledger in PostgreSQL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from management_fake import FakeManagement, fake_management
from r_standin.status import wrong_before_continue
from workflow_support.r_framework import PFT, TRAITS, pecan_xml

from pecan_operator.clients.bety import Bety
from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger import Ledger
from pecan_operator.core import rframework, rsettings
from pecan_operator.core.pecanxml import Model
from pecan_operator.core.userxml import Ours
from pecan_operator.records import RunKey, RunState, WorkflowRequest, WorkflowRow

from .conftest import BETY_PASSWORD, LEDGER_PASSWORD, Server

ROOT = Path(__file__).resolve().parents[2]
R_IMAGE = ROOT / "tests" / "e2e" / "r-image"
MODEL = f"""#!{sys.executable}
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
loader = SourceFileLoader("journal", "{ROOT}/tests/e2e/model-image/run")
module = module_from_spec(spec_from_loader("journal", loader))
sys.dont_write_bytecode = True
loader.exec_module(module)
outdir = sys.argv[1].replace("/run/", "/out/")
module.write_output(outdir + "/1998.nc", 1998, {{"GPP": 1e-8, "NEE": 0.0}})
"""
# Who runs the tests may be root, which the stand-in refuses, and whose Python nobody else may read.
R = f"""#!{sys.executable}
import os, sys
os.getuid = lambda: os.stat(".").st_uid
sys.path.insert(0, "{R_IMAGE}")
from r_standin.batch import main
sys.exit(main(sys.argv[1:]))
"""
UID = 1001
SECONDS = 60


@dataclass(frozen=True)
class Steps:
    """What the containers of one workflow are given."""

    server: Server
    row: WorkflowRow
    folder: Path
    management: FakeManagement
    bety_password: str = BETY_PASSWORD

    @property
    def data(self) -> Path:
        return self.folder.parents[1]

    @property
    def environment(self) -> dict[str, str]:
        uri = f"amqp://{self.management.user}:{self.management.password}@127.0.0.1:5672/pecan"
        return {"PATH": f"{self.data}/bin:{os.environ['PATH']}", "HOME": "/tmp", "TZ": "UTC", "RABBITMQ_URI": uri}

    def role(self, user: str, password: str, prefix: str = "") -> dict[str, str]:
        found = {"HOST": self.server.host, "PORT": str(self.server.port), "USER": user, "PASSWORD": password}
        return {f"{prefix}PG{name}": value for name, value in {**found, "DATABASE": "bety"}.items()}

    def ours(self, step: str, *arguments: str) -> str:
        """What one of our steps prints."""
        environment = {
            **self.environment,
            **self.role("pecan_operator", LEDGER_PASSWORD),
            **self.role("bety", self.bety_password, "BETY_"),
            "PECAN_FOLDER": str(self.folder),
            "PECAN_WORKFLOW_ID": str(self.row.workflow_id),
            "PECAN_WORKFLOW_UID": self.row.uid,
        }
        command = [Path(sys.executable).parent / "pecan-executor", step, "--framework", "pecan", *arguments]
        done = subprocess.run(command, env=environment, cwd=self.data, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        if os.geteuid() == 0:
            os.chown(self.folder, UID, UID)
        return done.stdout

    def begin_r(self, passed: tuple[str, str]) -> subprocess.Popen[str]:
        """The container `framework`, in a process group of its own."""
        environment = {
            **self.environment,
            **self.role("bety", self.bety_password),
            "FQDN": "docker",
            "RABBITMQ_PREFIX": "/",
            "RABBITMQ_PORT": str(self.management.port),
            "R_STANDIN_GATES": str(self.data),
        }
        script = rframework.SCRIPT.replace("/work/workflow.R", str(R_IMAGE / "workflow.R"))
        return subprocess.Popen(
            ["sh", "-c", script, rframework.CONTAINER, *passed],
            env=environment,
            cwd=self.folder,
            text=True,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def r(self, passed: tuple[str, str]) -> tuple[int, str]:
        """Exit code and last words of R."""
        process = self.begin_r(passed)
        _, said = process.communicate(timeout=SECONDS)
        return process.returncode, said

    def kill_r(self, passed: tuple[str, str], stage: str) -> None:
        """Kill R when it holds in a stage, then let that stage pass the next time."""
        gate = self.data / f"{self.row.workflow_id}.{stage}.open"
        process = self.begin_r(passed)
        until = time.monotonic() + SECONDS
        log = self.folder / passed[1]
        while not (log.exists() and gate.name in log.read_text()):
            assert time.monotonic() < until, log.read_text()
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        gate.touch()

    def write_settings(self, xml: str, model_id: int) -> Path:
        """What the operator mounts: pecan.xml without a password."""
        binary = str(self.data / "bin" / "journal")
        ours = Ours(
            workflow_id=self.row.workflow_id,
            folder=str(self.folder),
            hostname="docker",
            queue="JOURNAL_1",
            model=Model(id=model_id, type="JOURNAL", revision="1", binary=binary),
        )
        file = self.data / "settings.xml"
        # The table of nodes puts dbfiles where the volume is mounted; here it is elsewhere.
        file.write_text(rsettings.adopt(xml, ours).xml.replace("/data/dbfiles", f"{self.data}/dbfiles"))
        return file

    def write_site(self, settings: Path) -> None:
        """Name the site by BETY's id, as R wants it where nobody else registers it."""
        with closing(self.server.database("bety", self.bety_password)) as database:
            site_id = Bety(database).site(name="Loobos", lat=52.17, lon=5.74)
        settings.write_text(settings.read_text().replace("<id>NL-Loo</id>", f"<id>{site_id}</id>"))

    def status(self) -> str:
        return (self.folder / "STATUS").read_text()


@pytest.fixture
def model_id(ledger_database: Database) -> int:
    return Bety(ledger_database).register_model(
        hostname="docker", model_type="JOURNAL", name="JOURNAL", revision="1", binary="/usr/local/bin/journal"
    )


@pytest.fixture
def steps(
    prepared: Server,
    pfts_of_r: None,
    ledger: Ledger,
    model_id: int,
    request_for: Callable[..., WorkflowRequest],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Steps]:
    """A workflow that the operator has accepted, and the data volume."""
    row = ledger.accept_workflow(request_for("of-r", queue="JOURNAL_1", framework="pecan"))
    data = tmp_path_factory.mktemp("data")
    for folder in (data / "journal", data / "bin", data / "workflows"):
        folder.mkdir()
    (data / "journal" / "met").touch()
    for name, program in {"R": R, "journal": MODEL}.items():
        (data / "bin" / name).write_text(program)
        (data / "bin" / name).chmod(0o755)
    with fake_management() as management:
        yield Steps(prepared, row, data / "workflows" / f"PEcAn_{row.workflow_id}", management)


def xml(steps: Steps, posterior_id: int | None, holds: tuple[str, ...] = (), more: str = "") -> str:
    text = pecan_xml(3, posterior_id, {}, [("hold", stage) for stage in holds], more)
    return text.replace("/data/journal", f"{steps.data}/journal")


def execute(steps: Steps, write: Callable[..., None]) -> list[str]:
    """What workers do to all runs; returns their ids."""
    run_ids = (steps.folder / "run" / "runs.txt").read_text().split()
    for run_id in run_ids:
        done = subprocess.run(
            ["bash", "-c", "./job.sh"], cwd=steps.folder / "run" / run_id, capture_output=True, check=False
        )
        log = steps.folder / "out" / run_id / "logfile.txt"
        assert (done.returncode, done.stdout) == (0, b"MODEL FINISHED\n"), log.read_text()
        key = RunKey(steps.row.workflow_id, run_id)
        times = {"started_at": datetime.now(UTC), "finished_at": datetime.now(UTC)}
        write(key, RunState.SUCCEEDED, exit_code=0, **times)
    return run_ids


def rows(steps: Steps, statement: str) -> list[tuple[object, ...]]:
    with closing(steps.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement, {"id": steps.row.workflow_id})
        return cursor.fetchall()


def test_three_steps_leave_a_finished_workflow(
    steps: Steps, model_id: int, ledger: Ledger, write: Callable[..., None]
) -> None:
    more = "<sensitivity.analysis><quantiles><sigma>1</sigma></quantiles></sensitivity.analysis>"
    settings = steps.write_settings(xml(steps, None, more=more), model_id)
    steps.ours("folder", "--settings", str(settings))
    assert steps.r(rframework.PREPARE) == (0, "")
    assert "6 runs" in steps.ours("register")
    assert [line.split("\t")[0] for line in steps.status().splitlines()] == [
        *("TRAIT", "META", "CONFIG", "ADVANCED", "MODEL")
    ]
    plans = [plan for plan, *_ in ledger.run_states(steps.row.workflow_id)]
    assert [(plan.member, plan.trait, plan.run_type) for plan in plans] == [
        (None, None, "sensitivity"),
        *((None, trait, "sensitivity") for trait in TRAITS),
        *((member, None, "ensemble") for member in (1, 2, 3)),
    ]
    assert {tuple(plan.expect) for plan in plans} == {("1998.nc",)}
    execute(steps, write)

    assert "6 runs succeeded" in steps.ours("resume")
    assert wrong_before_continue(steps.status(), ("TRAIT", "META", "CONFIG", "ADVANCED", "MODEL")) is None
    assert steps.r(rframework.ANALYSE) == (0, "")
    steps.ours("report")
    assert [line.split("\t")[0] for line in steps.status().splitlines()][5:] == [
        *("OUTPUT", "ENSEMBLE", "SENSITIVITY", "FINISHED")
    ]
    row = ledger.read_workflow("of-r")
    assert row is not None
    assert row.analysed_at is not None
    assert [(each["variable"], each["n"]) for each in row.results["ensemble"]] == [("GPP", 3)]
    assert rows(steps, "SELECT finished_at IS NOT NULL FROM workflows WHERE id = %(id)s") == [(True,)]


def test_r_that_is_killed_begins_anew_and_clean(
    steps: Steps, model_id: int, ledger: Ledger, write: Callable[..., None], posterior_id: int
) -> None:
    settings = steps.write_settings(xml(steps, posterior_id, ("TRAIT", "CONFIG", "OUTPUT")), model_id)
    for stage in ("TRAIT", "CONFIG"):
        steps.ours("folder", "--settings", str(settings))
        steps.kill_r(rframework.PREPARE, stage)
    assert len(rows(steps, "SELECT id FROM ensembles WHERE workflow_id = %(id)s")) == 1
    steps.ours("folder", "--settings", str(settings))
    assert steps.r(rframework.PREPARE) == (0, "")
    steps.ours("register")
    # A pod that was lost later finds a workflow that is prepared, and leaves its runs alone.
    steps.ours("folder", "--settings", str(settings))
    assert steps.r(rframework.PREPARE) == (0, "")
    assert "3 runs" in steps.ours("register")
    run_ids = execute(steps, write)

    steps.ours("resume")
    steps.kill_r(rframework.ANALYSE, "OUTPUT")
    steps.ours("resume")
    assert steps.r(rframework.ANALYSE) == (0, "")
    steps.ours("report")
    stages = ("TRAIT", "CONFIG", "ADVANCED", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED")
    assert wrong_before_continue(steps.status(), stages) is None
    found = rows(
        steps,
        "SELECT runs.id::text FROM runs JOIN ensembles ON ensembles.id = ensemble_id"
        " WHERE workflow_id = %(id)s ORDER BY runs.id",
    )
    assert [run_id for (run_id,) in found] == run_ids
    assert sorted(path.name for path in (steps.folder / "out").iterdir()) == sorted(run_ids)


def test_passwords_may_change_between_the_passes(
    steps: Steps, model_id: int, write: Callable[..., None], posterior_id: int
) -> None:
    settings = steps.write_settings(xml(steps, posterior_id), model_id)
    steps.ours("folder", "--settings", str(settings))
    assert steps.r(rframework.PREPARE) == (0, "")
    steps.ours("register")
    execute(steps, write)
    changed = replace(steps, bety_password="changedSecret")
    change_password(steps.server, "changedSecret")
    steps.management.password = "changedToo"
    try:
        changed.ours("resume")
        assert changed.r(rframework.ANALYSE) == (0, "")
    finally:
        change_password(steps.server, BETY_PASSWORD)
    for file in steps.folder.glob("pecan*.xml"):
        root = ET.parse(file).getroot()
        assert root.findtext("database/bety/password") == "changedSecret"
        assert ":changedToo@" in (root.findtext("host/rabbitmq/uri") or "")
        assert file.stat().st_mode & 0o007 == 0


def test_runs_that_r_writes_no_rows_of_have_names(
    steps: Steps, model_id: int, ledger: Ledger, write: Callable[..., None]
) -> None:
    settings = steps.write_settings(xml(steps, None).replace("<write>TRUE", "<write>FALSE"), model_id)
    steps.write_site(settings)
    steps.ours("folder", "--settings", str(settings))
    assert steps.r(rframework.PREPARE) == (0, "")
    assert "3 runs" in steps.ours("register")
    plans = [plan for plan, *_ in ledger.run_states(steps.row.workflow_id)]
    assert [(plan.run_id[:9], plan.member) for plan in plans] == [(f"ENS-0000{member}", member) for member in (1, 2, 3)]
    assert {(plan.site_name, plan.run_type, plan.expect[0]) for plan in plans} == {("Loobos", "ensemble", "1998.nc")}
    execute(steps, write)
    steps.ours("resume")
    assert steps.r(rframework.ANALYSE) == (0, "")
    steps.ours("report")
    assert rows(steps, "SELECT id FROM ensembles WHERE workflow_id = %(id)s") == []


def change_password(server: Server, password: str) -> None:
    with closing(server.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER ROLE bety PASSWORD %s", (password,))


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("<severe>CONFIG</severe>", "R failed in stage CONFIG: "),
        ("<severe>CONVERSIONS</severe>", "R failed in input conversion: "),
        ("<stop>TRAIT</stop>", "R failed in stage TRAIT: Error in standin.TRAIT() : subscript out of bounds"),
    ],
)
def test_r_s_error_is_said_in_one_line_without_passwords(
    steps: Steps, model_id: int, posterior_id: int, order: str, says: str
) -> None:
    text = xml(steps, posterior_id).replace("</standin>", f"{order}</standin>")
    steps.ours("folder", "--settings", str(steps.write_settings(text, model_id)))
    code, said = steps.r(rframework.PREPARE)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(says)
    if "severe" in order:
        assert "SEVERE" in said
        assert said.rstrip().endswith("was told to fail, with more words than fit on one line of R")


def test_a_password_that_r_complains_of_is_not_told(steps: Steps, model_id: int, posterior_id: int) -> None:
    steps.ours("folder", "--settings", str(steps.write_settings(xml(steps, posterior_id), model_id)))
    change_password(steps.server, "changedSecret")
    try:
        code, said = steps.r(rframework.PREPARE)
    finally:
        change_password(steps.server, BETY_PASSWORD)
    assert code == 1
    assert "Invalid Database Settings" in said
    assert BETY_PASSWORD in (steps.folder / "workflow.Rout").read_text()
    assert BETY_PASSWORD not in said


@pytest.fixture
def posterior_id(steps: Steps) -> int:
    """The posterior that BETY has of the PFT."""
    ((found,),) = rows(
        steps, f"SELECT min(posteriors.id) FROM posteriors JOIN pfts ON pfts.id = pft_id WHERE name = '{PFT}'"
    )
    return int(str(found))
