"""A workflow's folder as the operator gives it to R, a BETY and a broker in memory."""

from __future__ import annotations

import itertools
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from r_standin import orders
from r_standin.batch import run_pass
from r_standin.bety import Bety, Prior, connection_of
from r_standin.broker import Broker
from r_standin.logger import severe
from r_standin.settings import Settings
from r_standin.workflow import Services

IMAGE = Path(__file__).resolve().parents[2] / "e2e" / "r-image"
FIRST = ("CMD", "BATCH", "--advanced", "workflow.R", "workflow.Rout")
SECOND = ("CMD", "BATCH", "--continue", "workflow.R", "workflow2.Rout")
UID = 1001
WORKFLOW_ID = 99000000007
PASSWORD = "betySecret"

PECAN_XML = """
<pecan>
 <outdir>{folder}</outdir>
 <workflow><id>{workflow_id}</id></workflow>
 <database>
  <bety>
   <driver>PostgreSQL</driver><host>pecan-postgres</host><port>5432</port><dbname>bety</dbname>
   <user>bety</user><password>{password}</password><write>TRUE</write>
  </bety>
  <dbfiles>{data}/dbfiles</dbfiles>
 </database>
 <pfts><pft><name>orders</name><posteriorid>5</posteriorid><constants><sleep_seconds>0</sleep_seconds></constants></pft></pfts>
 <ensemble><size>3</size><variable>GPP</variable></ensemble>
 <model><id>11</id></model>
 <host>
  <name>localhost</name>
  <rabbitmq><uri>amqp://pecan:amqpSecret@pecan-rabbitmq:5672/pecan</uri><queue>JOURNAL_1</queue></rabbitmq>
 </host>
 <run>
  <site><id>772</id></site>
  <inputs><met><path>{data}/met</path></met></inputs>
  <start.date>2004/01/01</start.date><end.date>2005/12/31</end.date>
 </run>
</pecan>
"""


@dataclass
class FakeBety:
    """Rows by table; with a password other than this one's nobody gets in."""

    password: str = PASSWORD
    ensembles_: list[tuple[int, str, int]] = field(default_factory=list)
    posteriors_ensembles: list[str] = field(default_factory=list)
    runs: list[tuple[int, tuple[str, str], int, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    priors_: Mapping[str, Prior] = field(
        default_factory=lambda: {"SLA": ("unif", 10.0, 20.0), "Amax": ("norm", 5.0, 1.0)}
    )
    finished: list[int] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(99000000100))

    def connect(self, settings: Settings) -> Bety:
        if connection_of(settings)["password"] != self.password:
            raise severe("check.database", "Invalid Database Settings")
        return self

    def check(self) -> None:
        pass

    def machine(self, hostname: str) -> int | None:
        return 1 if hostname == "docker" else None

    def model(self, model_id: int) -> tuple[str, str] | None:
        return ("JOURNAL", "1") if model_id == 11 else None

    def binary(self, model_id: int, machine_id: int) -> str | None:
        return "/usr/local/bin/journal"

    def site(self, site_id: int) -> tuple[str, float, float] | None:
        return ("Niwot Ridge", 40.03, -105.55) if site_id == 772 else None

    def pft(self, name: str, model_type: str) -> int | None:
        return 3 if (name, model_type) == ("orders", "JOURNAL") else None

    def has_workflow(self, workflow_id: int) -> bool:
        return workflow_id == WORKFLOW_ID

    def ensembles(self, workflow_id: int) -> int:
        return sum(owner == workflow_id for _, _, owner in self.ensembles_)

    def priors(self, pft_id: int) -> Mapping[str, Prior]:
        return self.priors_

    def add_posterior(self, pft_id: int) -> int:
        return next(self._ids)

    def add_file(self, container: str, container_id: int, machine_id: int, folder: str, name: str) -> None:
        self.files.append(f"{folder}/{name}")

    def add_ensemble(self, runtype: str, workflow_id: int, posterior_ids: Sequence[str]) -> int:
        self.ensembles_.append((next(self._ids), runtype, workflow_id))
        for posterior_id in posterior_ids:
            if not posterior_id:
                raise severe("PEcAn.DB::db.query", "syntax error")
            self.posteriors_ensembles.append(posterior_id)
        return self.ensembles_[-1][0]

    def add_run(self, model_id: int, site_id: int, days: tuple[str, str], ensemble_id: int, parameters: str) -> int:
        self.runs.append((next(self._ids), days, ensemble_id, parameters))
        return self.runs[-1][0]

    def finish(self, workflow_id: int) -> None:
        self.finished.append(workflow_id)

    def close(self) -> None:
        pass


@dataclass
class FakeBroker:
    """Answers every message at once."""

    uri: str = "amqp://pecan:amqpSecret@pecan-rabbitmq:5672/pecan"
    answer: str = "OK"
    published: list[Path] = field(default_factory=list)

    def connect(self, settings: Settings) -> Broker:
        if settings.get("host/rabbitmq/uri") != self.uri:
            raise severe("rabbitmq_send_message", "make sure username/password is correct")
        return self

    def check(self) -> None:
        pass

    def publish(self, folder: Path) -> None:
        self.published.append(folder)
        (folder / "rabbitmq.out").write_text(f"b'MODEL FINISHED\\n'\n{self.answer}\n")


@dataclass
class Case:
    """A folder and what R meets there."""

    folder: Path
    bety: FakeBety
    broker: FakeBroker
    capture: pytest.CaptureFixture[str]

    def change(self, path: str, value: str | None, name: str = "pecan.xml") -> None:
        """Set a node of pecan.xml or a copy of it, or remove it."""
        settings = Settings.read(self.folder / name)
        if value is None:
            parent = settings.root.find(path.rpartition("/")[0] or ".")
            assert parent is not None
            parent.remove(parent.findall(path.rpartition("/")[2])[0])
        else:
            settings.put(path, value)
        mode = (self.folder / name).stat().st_mode
        ET.ElementTree(settings.root).write(self.folder / name)
        (self.folder / name).chmod(mode)

    def run(self, arguments: Sequence[str] = FIRST) -> int:
        """R's exit code."""
        return run_pass(arguments, self.folder, Services(self.bety.connect, self.broker.connect))

    def said(self) -> str:
        """What R has printed since the last call, without its wrapping."""
        return " ".join(self.capture.readouterr().err.split())

    def status(self) -> list[list[str]]:
        return [line.split("\t") for line in (self.folder / "STATUS").read_text().splitlines()]

    def run_ids(self) -> list[str]:
        return (self.folder / "run" / "runs.txt").read_text().split()

    def complete(self) -> None:
        """What `register` and `resume` do between the passes."""
        with (self.folder / "STATUS").open("a") as file:
            file.write("\t2030-01-01 00:00:01\tDONE\t\nMODEL\t2030-01-01 00:00:01\t2030-01-01 00:00:02\tDONE\t\n")
        (self.folder / ".RData").unlink()
        for copy in self.folder.glob("pecan.*.xml"):
            copy.chmod(0o640)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Case]:
    """A folder before the first pass, in R's environment."""
    folder = tmp_path / "workflows" / f"PEcAn_{WORKFLOW_ID}"
    folder.mkdir(parents=True)
    (tmp_path / "met").touch()
    text = PECAN_XML.format(folder=folder, workflow_id=WORKFLOW_ID, password=PASSWORD, data=tmp_path)
    (folder / "pecan.xml").write_text(text)
    (folder / "pecan.xml").chmod(0o640)
    (folder / "workflow.R").write_bytes((IMAGE / "workflow.R").read_bytes())
    if os.getuid() == 0:
        os.chown(folder, UID, UID)
        monkeypatch.setattr(os, "getuid", lambda: UID)
    for name, value in {"TZ": "UTC", "FQDN": "docker"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PECAN_SETTINGS", raising=False)
    monkeypatch.setattr(orders, "GATES", tmp_path)
    monkeypatch.setattr(orders, "HELD_AT_MOST_SECONDS", 0)
    umask = os.umask(0o007)
    yield Case(folder, FakeBety(), FakeBroker(), capfd)
    os.umask(umask)
