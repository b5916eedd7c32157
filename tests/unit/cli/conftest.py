"""The plugin's commands as a user gives them, on a fake cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_fakes import Clock, FakeApi, Run, Said, check_job, condition, platform
from typer.testing import CliRunner

from kubectl_pecan import app as shared
from kubectl_pecan.commands import results, workflows
from kubectl_pecan.main import app


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What is /data in the pod."""
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def api(data: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A namespace with a platform whose data volume has been checked."""
    home = platform("Ready", condition("Ready", "True", "Ready", "all services are ready"))
    made = FakeApi(data, home, check_job(home))

    def connect(namespace: str | None, context: str | None) -> FakeApi:
        made.namespace = namespace or made.namespace
        return made

    monkeypatch.setattr(shared, "connect", connect)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(workflows, "time", made)
    monkeypatch.setattr(results, "time", made)
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Gives a command; nothing but a line may come on standard error, and never a traceback."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def give(*arguments: str) -> Said:
        done = CliRunner().invoke(app, [str(each) for each in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        if done.exit_code not in (0, 2) or done.stderr.startswith("error: "):
            (line,) = done.stderr.splitlines()
            assert line.startswith("error: ")
        return Said(done.exit_code, done.stdout, done.stderr)

    return give
