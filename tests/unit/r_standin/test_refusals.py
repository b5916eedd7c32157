"""What the stand-in of R refuses: the operator has to give R exactly what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import IMAGE, SECOND, Case

Change = Callable[[Case], object]

SURROUNDINGS: dict[str, tuple[Change, str]] = {
    "workspace": (lambda case: (case.folder / ".RData").touch(), ".RData is there"),
    "status": (lambda case: (case.folder / "STATUS").touch(), "STATUS is there"),
    "saved settings": (lambda case: (case.folder / "pecan.TRAIT.xml").touch(0o640), "pecan.TRAIT.xml is there"),
    "runs": (lambda case: (case.folder / "run" / "1").mkdir(parents=True), "run/ is not empty"),
    "outputs": (lambda case: (case.folder / "out" / "1").mkdir(parents=True), "out/ is not empty"),
    "mode": (lambda case: (case.folder / "pecan.xml").chmod(0o644), "pecan.xml has the mode 644"),
    "workflow.R": (lambda case: (case.folder / "workflow.R").write_text("q()"), "workflow.R is not the image's own"),
}
SETTINGS: dict[str, tuple[str, str | None, str]] = {
    "outdir": ("outdir", "/data/elsewhere", "outdir is '/data/elsewhere'"),
    "workflow": ("workflow/id", None, "workflow/id is not given"),
    "no row": ("workflow/id", "5", "BETY has no workflow 5"),
    "host": ("host/name", "docker", "R copies runs over ssh"),
    "rundir": ("rundir", "/data/run", "rundir is there"),
    "settings.info": ("settings.info/checked", "TRUE", "settings.info is there"),
    "dbfiles": ("database/dbfiles", "dbfiles", "not an absolute path"),
    "input": ("run/inputs/met/path", "/nowhere/met", "'/nowhere/met' does not exist"),
    "no database": ("database/bety", None, "no database/bety"),
    "tag": ("database/bety/sslmode", "require", "unused arguments (sslmode)"),
    "driver": ("database/bety/driver", "SQLite", "`SQLite` is not supported"),
    "password": ("database/bety/password", "old", "Invalid Database Settings"),
    "broker": ("host/rabbitmq/uri", "amqp://pecan:old@pecan-rabbitmq/pecan", "make sure username/password is correct"),
    "model": ("model/id", "12", "no model with ID 12"),
    "pft": ("pfts/pft/name", "grass", "Did not find a pft with name grass for model type JOURNAL"),
    "site": ("run/site/id", "NL-Loo", "BETY has no site 'NL-Loo'"),
    "dates": ("run/start.date", "2006/01/01", "Start date should come before the end date"),
    "variable": ("ensemble/variable", None, "No variable specified"),
    "years": ("ensemble/start.year", "1999", "lies outside of the run"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_wrong_folder_is_refused(case: Case, name: str) -> None:
    change, words = SURROUNDINGS[name]
    change(case)
    before = {file.name for file in case.folder.iterdir()}
    assert case.run() == 1
    assert words in case.said()
    assert {file.name for file in case.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PECAN_SETTINGS", "/x.xml", "PECAN_SETTINGS is set"),
        ("TZ", "Europe/Berlin", "not UTC"),
        ("FQDN", "", "FQDN is not"),
    ],
)
def test_a_wrong_environment_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert case.run() == 1
    assert words in case.said()


@pytest.mark.parametrize("uid", [0, 33])
def test_another_user_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert case.run() == 1
    assert f"the user is {uid}" in case.said()


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_settings_are_refused(case: Case, name: str) -> None:
    path, value, words = SETTINGS[name]
    case.change(path, value)
    assert case.run() == 1
    assert words in case.said()
    assert not (case.folder / "run" / "runs.txt").exists()


def test_rows_of_an_earlier_pass_are_refused(case: Case) -> None:
    case.bety.add_ensemble("ensemble", int((case.folder.name).removeprefix("PEcAn_")), [])
    assert case.run() == 1
    assert "rows of an earlier pass were not removed" in case.said()


def rewrite_status(case: Case, change: Callable[[str], str]) -> None:
    path = case.folder / "STATUS"
    path.write_text(change(path.read_text()))


SECOND_PASS: dict[str, tuple[Change, str]] = {
    "open line": (
        lambda case: rewrite_status(case, lambda text: text + "OUTPUT\t2030-01-01 00:00:03"),
        "the last line is open",
    ),
    "a stage too many": (
        lambda case: rewrite_status(
            case, lambda text: text + "OUTPUT\t2030-01-01 00:00:03\t2030-01-01 00:00:03\tDONE\t\n"
        ),
        "has the stages ['TRAIT', 'CONFIG', 'ADVANCED', 'MODEL', 'OUTPUT']",
    ),
    "no model": (
        lambda case: rewrite_status(case, lambda text: "".join(text.splitlines(keepends=True)[:-1])),
        "has the stages ['TRAIT', 'CONFIG', 'ADVANCED']",
    ),
    "failed": (lambda case: rewrite_status(case, lambda text: text[:-6] + "ERROR\t\n"), "is not a stage"),
    "gone": (lambda case: (case.folder / "STATUS").unlink(), "STATUS before --continue: is not there"),
    "empty line": (lambda case: rewrite_status(case, lambda text: text + "\n"), "'' is not a stage"),
    "workspace": (lambda case: (case.folder / ".RData").touch(), ".RData is there"),
    "copy gone": (lambda case: (case.folder / "pecan.TRAIT.xml").unlink(), "pecan.TRAIT.xml is not there"),
    "copy open": (lambda case: (case.folder / "pecan.TRAIT.xml").chmod(0o644), "pecan.TRAIT.xml has the mode 644"),
    "database": (
        lambda case: case.change("database/bety/password", "old", "pecan.CONFIGS.xml"),
        "Invalid Database Settings",
    ),
    "broker": (
        lambda case: case.change("host/rabbitmq/uri", "amqp://pecan:old@pecan-rabbitmq/pecan", "pecan.TRAIT.xml"),
        "make sure username/password is correct",
    ),
}


@pytest.mark.parametrize("name", SECOND_PASS)
def test_what_resume_left_undone_is_refused(case: Case, name: str) -> None:
    assert case.run() == 0
    case.complete()
    change, words = SECOND_PASS[name]
    change(case)
    case.said()
    assert case.run(SECOND) == 1
    assert words in case.said()
    assert not list(case.folder.glob("ensemble.output.*"))


def program(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable] if name == "R" else ["sh"]
    return subprocess.run(
        [*command, str(IMAGE / name), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("CMD", "BATCH", "workflow.R", "workflow.Rout"),
        ("CMD", "BATCH", "--vanilla", "--advanced", "workflow.R", "workflow.Rout"),
        ("CMD", "BATCH", "--continue", "workflow.R", "workflow.Rout"),
        ("CMD", "BATCH", "--advanced", "/work/workflow.R", "workflow.Rout"),
        ("--version",),
    ],
)
def test_other_arguments_are_refused_in_the_rout_file(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = program(tmp_path, "R", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert "none of those that PEcAn's executor gives" in " ".join((tmp_path / "workflow.Rout").read_text().split())


def test_all_that_r_says_is_in_the_rout_file(tmp_path: Path) -> None:
    done = program(tmp_path, "R", *SECOND)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert "SEVERE" in (tmp_path / "workflow2.Rout").read_text()


def test_rscript_is_refused(tmp_path: Path) -> None:
    assert program(tmp_path, "Rscript", "workflow.R").returncode == 1
    assert "SEVERE [standin] : Rscript was used" in (tmp_path / "workflow.Rout").read_text()
