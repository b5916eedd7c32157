"""The command: exit codes, and one clear last line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pecan_executor import main as main_module
from pecan_executor.main import main
from pecan_operator.core.pecanxml import Pft, Settings, render
from pecan_operator.errors import Unavailable


@pytest.fixture
def environment(settings: Settings, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECAN_FOLDER", str(folder.path))
    monkeypatch.setenv("PECAN_WORKFLOW_ID", str(settings.workflow_id))
    monkeypatch.setenv("PECAN_WORKFLOW_UID", "uid-1")
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text.strip()


@pytest.mark.usefixtures("environment")
def test_folder_step(settings: Settings, folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pecan.xml"
    source.write_text(render(settings))
    assert main(["folder", "--settings", str(source)]) == 0
    assert folder.settings.exists()
    assert "is ready" in capsys.readouterr().out


@pytest.mark.usefixtures("environment")
def test_bad_input_is_final(folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pecan.xml"
    source.write_text("<pecan/>")
    assert main(["folder", "--settings", str(source)]) == 65
    assert last_line(capsys) == "pecan-executor folder: pecan.xml pecan/run is missing"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (
            "priors.csv",
            b"trait,distn,parama,paramb\nSLA,hyper,1,2\n",
            "priors.csv row 2 (SLA): distn hyper is not supported",
        ),
        ("trait.mcmc.Rdata", b"RDX3\nX\n\x00\x00", "trait.mcmc.Rdata cannot be read as RData"),
        ("samples.csv", b"SLA\n1\n2\n", "PFT conifer: samplesCsv has 2 samples, the ensemble 4 members"),
    ],
)
def test_a_bad_file_of_traits_is_final_and_told_before_anything_is_made(
    name: str, content: bytes, line: str, settings: Settings, folder: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    for variable in ("PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setenv("PGPORT", "1")
    (folder.data / name).write_bytes(content)
    path = str(folder.data / name)
    files = {"priors.csv": (path, None, None), "samples.csv": (None, None, path)}.get(name, (None, path, None))
    source = tmp_path / "pecan.xml"
    source.write_text(render(replace(settings, pfts=(Pft("conifer", {}, {}, *files),))))
    assert main(["folder", "--settings", str(source)]) == 0
    assert main(["prepare"]) == 65
    assert line in last_line(capsys)
    assert not list(folder.run.iterdir())


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("step", ["register", "analyse"])
def test_a_step_out_of_order_says_which_comes_first(
    step: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for name in ("PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PGPORT", "1")
    assert main([step]) == 65
    assert "run the step" in last_line(capsys)


@pytest.mark.usefixtures("environment")
def test_missing_environment_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["report"]) == 65
    assert last_line(capsys) == "pecan-executor report: the environment variable PGHOST is not set"
    monkeypatch.delenv("PECAN_FOLDER")
    assert main(["report"]) == 65
    assert "PECAN_FOLDER is not set" in last_line(capsys)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Unavailable("DatabaseUnavailable", "the database x does not answer"), 75, "the database x does not answer"),
        (PermissionError(13, "Permission denied", "/data/x"), 74, "Permission denied: /data/x"),
        (ZeroDivisionError("a\nb"), 70, "unexpected ZeroDivisionError: a b; details are in "),
    ],
)
def test_errors_end_in_one_line_without_traceback(
    error: Exception, code: int, line: str, folder: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    folder.path.mkdir(parents=True)

    def fail(_: object) -> str:
        raise error

    monkeypatch.setitem(main_module.STEPS, "table", ("", fail))
    assert main(["table"]) == code
    assert last_line(capsys).startswith(f"pecan-executor table: {line}")
    assert ("Traceback" in folder.log.read_text() if folder.log.exists() else False) == (code != 75)


def test_table_starts_without_the_scientific_libraries(tmp_path: Path) -> None:
    (tmp_path / "ensemble.analysis.5.GPP.1999.1999.csv").write_text(
        "site_id,site_name,year,days,quantity,units,n,mean,sd,q2.5,q25,q50,q75,q97.5\n"
        "a,A,1999,365,mean,kg C m-2 s-1,2,1e-8,1e-9,1,1,1,1,1\n"
        "a,A,1999,365,sum,g C m-2 yr-1,2,561.6,nan,500,550,560,570,600\n"
    )
    code = (
        "import sys; from pecan_executor.main import main; "
        f"status = main(['table', {str(tmp_path)!r}]); "
        "sys.exit(status or bool({'numpy', 'netCDF4', 'matplotlib', 'psycopg2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == [
        "a", "GPP", "1999", "2", "561.60", "-", "500.00", "560.00", "600.00", "g", "C", "m-2", "yr-1",
    ]  # fmt: skip
