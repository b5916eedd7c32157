"""A pecan.xml on the data volume: read by the step folder, reported by the step register."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import adopt_pecan_xml
from pecan_executor.main import main
from pecan_executor.prepare import prepare
from pecan_executor.register import register
from pecan_executor.settings import read
from pecan_operator.core.pecanxml import Settings
from pecan_operator.core.userxml import MOST_BYTES, Ours
from pecan_operator.errors import UserError

TEXT = """<pecan>
  <pfts><pft><name>conifer</name><constants><SLA>12</SLA></constants></pft></pfts>
  <ensemble><size>3</size><variable>GPP</variable></ensemble>
  <benchmarking><id>1</id></benchmarking>
  <run>
    <site><id>772</id><name>Niwot</name><lat>40.03</lat><lon>-105.55</lon></site>
    <inputs><met><path>met/Niwot</path></met></inputs>
    <start.date>1999/01/01</start.date><end.date>2000/12/31</end.date>
    <stop_on_error>TRUE</stop_on_error>
  </run>
</pecan>
"""


class Ledger:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def report_settings(self, workflow_id: int, **said: Any) -> None:
        self.told.append((workflow_id, said))

    def register_runs(self, workflow_id: int, runs: Any) -> int:
        self.told.append((workflow_id, len(runs)))
        return len(runs)


@pytest.fixture
def ours(settings: Settings, folder: WorkflowFolder, tmp_path: Path) -> Path:
    completing = Ours(
        settings.workflow_id, str(folder.path), "docker", "DALEC_ev", settings.model, base_dir="/data/almond"
    )
    path = tmp_path / "ours.json"
    path.write_text(json.dumps(asdict(completing)))
    return path


@pytest.fixture
def source(folder: WorkflowFolder) -> Path:
    path = folder.data / "almond.xml"
    path.write_text(TEXT)
    return path


def test_the_folder_has_the_pecan_xml_that_is_run(
    folder: WorkflowFolder, source: Path, ours: Path, settings: Settings
) -> None:
    for _ in range(2):
        made = adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1")
    assert read(folder.settings) == made
    assert made.inputs["met"].paths == ("/data/almond/met/Niwot",)
    assert json.loads(folder.ignored.read_text()) == ["benchmarking"]


def test_a_pecan_xml_that_is_edited_counts_until_runs_are_registered(
    folder: WorkflowFolder, source: Path, ours: Path, settings: Settings, bety: Any
) -> None:
    text = TEXT.replace("met/Niwot", "/data/met/x")
    source.write_text(text)
    adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1")
    source.write_text(text.replace("<size>3", "<size>2"))
    made = adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1")
    plans = prepare(made, folder, bety)
    assert len(plans) == 2
    source.write_text(text.replace("<size>3", "<size>4").replace("benchmarking", "info"))
    again = adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1")
    assert again == made == read(folder.settings)
    assert json.loads(folder.ignored.read_text()) == ["benchmarking"]
    assert prepare(again, folder, bety) == plans
    source.unlink()
    assert adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1") == made


def test_register_tells_what_the_operator_could_not_read(
    folder: WorkflowFolder, source: Path, ours: Path, settings: Settings, bety: Any
) -> None:
    source.write_text(TEXT.replace("met/Niwot", "/data/met/x"))
    prepare(adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1"), folder, bety)
    ledger = Ledger()
    assert register(settings.workflow_id, folder, ledger) == 3
    said = {
        "start_date": "1999-01-01",
        "end_date": "2000-12-31",
        "stop_on_error": True,
        "ignored": ["benchmarking"],
    }
    assert ledger.told == [(settings.workflow_id, said), (settings.workflow_id, 3)]


def test_a_met_that_is_not_there_is_named_before_anything_is_written(
    folder: WorkflowFolder, source: Path, ours: Path, settings: Settings, bety: Any
) -> None:
    made = adopt_pecan_xml(folder, source, ours, settings.workflow_id, "uid-1")
    inside = {"met": type(made.inputs["met"])((str(folder.data / "almond/met/Niwot"),))}
    with pytest.raises(UserError, match=r"inputs\.met: .*/almond/met/Niwot does not exist"):
        prepare(Settings(**{**vars(made), "inputs": inside}), folder, bety)
    assert not bety.run_ids


def step(source: Path, ours: Path, folder: WorkflowFolder, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("PECAN_FOLDER", str(folder.path))
    monkeypatch.setenv("PECAN_WORKFLOW_ID", str(settings.workflow_id))
    monkeypatch.setenv("PECAN_WORKFLOW_UID", "uid-1")
    return main(["folder", "--pecan-xml", str(source), "--ours", str(ours)])


def test_the_command(
    folder: WorkflowFolder, source: Path, ours: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert step(source, ours, folder, settings, monkeypatch) == 0
    assert folder.settings.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "almond.xml does not exist: put it on the data volume"),
        ("folder", "almond.xml is not a file"),
        ("pipe", "almond.xml is not a file"),
        (b"\xff\xfe<\x00p\x00", "pecan.xml is not UTF-8 text (byte 1): save it as UTF-8"),
        (b"<pecan>" + b" " * MOST_BYTES, "pecan.xml has more than 1048576 bytes, which is the limit"),
        (b"<pecan>\n<meta.analysis/></pecan>", "pecan.xml line 2: meta.analysis is not supported"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line_and_final(
    content: bytes | str | None, says: str, folder: WorkflowFolder, source: Path, ours: Path, settings: Settings,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source.unlink()
    if content == "folder":
        source.mkdir()
    elif content == "pipe":
        os.mkfifo(source)
    elif isinstance(content, bytes):
        source.write_bytes(content)
    assert step(source, ours, folder, settings, monkeypatch) == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not folder.path.exists()
