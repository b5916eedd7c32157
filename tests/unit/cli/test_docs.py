"""The screens in docs/cli.md and docs/your-data.md are what the commands print.

`PECAN_WRITE_SCREENS=1` writes them anew.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_fakes import Clock, FakeApi, condition, model, platform, workflow
from rich.console import Console
from typer.testing import CliRunner

from kubectl_pecan import screens
from kubectl_pecan.errors import EXIT_CODES
from kubectl_pecan.main import app
from kubectl_pecan.progress import Pace

ROOT = Path(__file__).resolve().parents[3]
PAGES = (ROOT / "docs" / "cli.md", ROOT / "docs" / "your-data.md")
BLOCK = re.compile(r"^```console\n\$ (kubectl pecan[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [(page, found[0]) for page in PAGES for found in BLOCK.findall(page.read_text())]
NAME = "loobos-ensemble"
FOLDER = "/data/workflows/PEcAn_99000000001"
STARTED = "2026-05-01T08:00:00Z"
MODIFIED = datetime(2026, 5, 1, 8, 30, tzinfo=UTC).timestamp()


def year(variable: str, year: int, *numbers: float) -> dict[str, Any]:
    values = dict(zip(screens.COLUMNS, numbers, strict=True))
    return {"site": "NL-Loo", "variable": variable, "year": year, "n": 100, **values, "units": "g C m-2 yr-1"}


RESULTS = {
    "runs": 100,
    "used": 100,
    "omitted": 0,
    "caveats": ["Weather of Wageningen, 23 km south of Loobos, not of the site itself."],
    "yearly": [
        year("GPP", 1997, 1239.71, 92.05, 1007.94, 1255.75, 1341.79),
        year("GPP", 1998, 1247.92, 145.83, 882.79, 1281.98, 1375.86),
        year("NEE", 1997, -222.60, 90.36, -373.13, -223.92, -52.35),
        year("NEE", 1998, -226.08, 85.61, -357.80, -230.41, -59.18),
    ],
}


def running(done: int, message: str | None = None) -> dict[str, Any]:
    runs = {"succeeded": done, "running": 4, "queued": 8, "planned": 88 - done}
    said = message or f"{done} succeeded, 4 running, 8 queued, {88 - done} planned of 100"
    return workflow(NAME, "Running", said, runs, startedAt=STARTED)


def ended(phase: str = "Succeeded", **more: Any) -> dict[str, Any]:
    times = {"startedAt": STARTED, "finishedAt": "2026-05-01T08:00:41Z"}
    runs = {"succeeded": 100} if phase == "Succeeded" else {"failed": 100}
    said = "100 of 100 runs succeeded" if phase == "Succeeded" else "none of 100 runs succeeded"
    return workflow(NAME, phase, said, runs, folder=FOLDER, results=RESULTS, **times, **more)


def dalec() -> dict[str, Any]:
    status = {"readyReplicas": 4, "busyWorkers": 4, "outstanding": 57}
    return model("dalec", "Ready", "4 of 4 workers are ready", status, scaling={"maxReplicas": 4})


class Stage:
    """What there is before the commands of the pages: a cluster, its volume, the user's folder."""

    def __init__(self, api: FakeApi, data: Path, here: Path) -> None:
        self.api, self.data, self.here = api, data, here

    def home(self) -> None:
        up = [condition(f"{each}Ready", "True", "Ready", f"{said}") for each, said in SERVICES.items()]
        self.api.objects[0] = platform("Ready", condition("Ready", "True", "Ready", "all services are ready"), *up)
        self.api.objects[1]["metadata"]["ownerReferences"][0]["uid"] = self.api.objects[0]["metadata"]["uid"]

    def meadow(self) -> None:
        failed = "image registry.example/postgis:17 of pod pecan-postgres-0 cannot be pulled: not found"
        self.api.objects = [
            platform(
                "Progressing",
                condition("Ready", "False", "PostgresNotReady", f"Postgres: {failed}"),
                condition("DataReady", "True", "Ready", SERVICES["Data"]),
                condition("PostgresReady", "False", "ErrImagePull", failed),
                condition("RabbitMQReady", "True", "Ready", SERVICES["RabbitMQ"]),
                condition("DatabaseReady", "False", "Waiting", "waits for Postgres"),
            )
        ]

    def models(self) -> None:
        self.api.objects += [dalec(), model("sipnet", "Idle", "no work, no workers", type="SIPNET", revision="r136")]

    def manifests(self) -> None:
        example = yaml.safe_load((ROOT / "examples/workflows/loobos-ensemble.yaml").read_text())
        (self.here / "loobos-ensemble.yaml").write_text(yaml.safe_dump(example))
        example["spec"]["ensemble"]["sise"] = example["spec"]["ensemble"].pop("size")
        example["spec"]["sites"][0]["lat"] = 521.7
        (self.here / "wrong.yaml").write_text(yaml.safe_dump(example))

    def watched(self) -> None:
        self.api.objects.append(dalec())
        prepare = workflow(NAME, "Preparing", "the Job is at work (preparing)")
        last = workflow(NAME, "Analysing", "the Job is at work (analysing)", {"succeeded": 100}, startedAt=STARTED)
        self.api.looks[NAME] = [prepare, running(0), running(22), running(43), last, ended()]

    def failed(self) -> None:
        self.api.objects.append(ended("Failed"))

    def finished(self) -> None:
        self.api.objects.append(ended())
        folder = self.data / FOLDER.removeprefix("/data/")
        for name, size in {
            "ensemble.analysis.99000000001.GPP.1997.1998.csv": 421,
            "ensemble.analysis.99000000001.GPP.1997.1998.pdf": 48_112,
            "ensemble.analysis.99000000001.GPP.1997.1998.png": 202_710,
            "ensemble.members.99000000001.csv": 5_120,
            "pecan.xml": 4_096,
        }.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x" * size)
        run = folder / "run" / "99000000007"
        run.mkdir(parents=True)
        (run / "job.log").write_text(
            "pecan-dalec: run 99000000007, member 7 at NL-Loo, 1997-01-01 to 1998-12-31\n"
            "pecan-dalec: 730 days, 2 files\n"
        )

    def weather(self) -> None:
        for number in (1997, 1998):
            (self.here / f"Loobos.{number}.nc").write_bytes(bytes(164_000))

    def uploaded(self) -> None:
        folder = self.data / "met" / "loobos"
        folder.mkdir(parents=True)
        for number in (1997, 1998):
            path = folder / f"Loobos.{number}.nc"
            path.write_bytes(bytes(164_000))
            os.utime(path, (MODIFIED, MODIFIED))

    def station(self, wrong: bool = False) -> None:
        lines = ["date,tmin [degC],tmax [degC],rain [mm],srad [MJ m-2 d-1],wind [m s-1],rh [%]"]
        for day in range(730):
            when, season = date(1997, 1, 1) + timedelta(days=day), abs(((day + 10) % 365) - 182) / 182
            warm = 22 - 18 * season
            row = (warm - 8, warm, (day * 7 % 10) * 0.5, 2 + 18 * (1 - season), 3 + day % 3, 70 + day % 25)
            lines.append(f"{when}," + ",".join(f"{each:.1f}" for each in row))
        if wrong:
            lines[200] = lines[200].replace(lines[200].split(",")[4], "1742")
        (self.here / ("wrong.csv" if wrong else "station.csv")).write_text("\n".join(lines) + "\n")

    def converted(self) -> None:
        self.station()
        place = ["--lat", "52.17", "--lon", "5.74", "--elevation", "25"]
        done = CliRunner().invoke(app, ["met", "from-csv", "station.csv", "Loobos", *place])
        assert done.exit_code == 0, done.output


SERVICES = {
    "Data": "/data can be written as user 1001",
    "Postgres": "1 of 1 pods are ready",
    "RabbitMQ": "1 of 1 pods are ready",
    "Database": "BETY and the ledger are up to date",
}
SCENES: dict[str, Callable[[Stage], None]] = {
    "kubectl pecan --help": Stage.home,
    "kubectl pecan platform": Stage.home,
    "kubectl pecan platform -n meadow": Stage.meadow,
    "kubectl pecan models": Stage.models,
    f"kubectl pecan submit {NAME}.yaml": Stage.manifests,
    "kubectl pecan submit wrong.yaml": Stage.manifests,
    f"kubectl pecan watch {NAME}": Stage.home,
    f"kubectl pecan watch {NAME} | cat": Stage.watched,
    f"kubectl pecan retry {NAME} --max-attempts 5": Stage.failed,
    f"kubectl pecan results {NAME}": Stage.finished,
    f"kubectl pecan results {NAME} --to results": Stage.finished,
    "kubectl pecan logs 99000000007": Stage.finished,
    "kubectl pecan upload Loobos.1997.nc Loobos.1998.nc --to met/loobos": Stage.weather,
    "kubectl pecan ls met/loobos": Stage.uploaded,
    "kubectl pecan met from-csv station.csv Loobos --lat 52.17 --lon 5.74 --elevation 25": Stage.station,
    "kubectl pecan met from-csv wrong.csv Loobos --lat 52.17 --lon 5.74": lambda stage: stage.station(wrong=True),
    "kubectl pecan met check Loobos": Stage.converted,
}


def terminal_frame() -> str:
    """The screen of `watch` at a moment, without its colours."""
    pace = Pace()
    for seconds, done in ((0, 0), (10, 22), (20, 43)):
        pace.add(seconds, done)
    console = Console(width=100, color_system=None, force_terminal=True, highlight=False)
    now = datetime.fromisoformat(STARTED) + timedelta(seconds=25)
    with console.capture() as captured:
        console.print(screens.watch_screen(running(43), dalec(), pace, now))
    return captured.get()


def printed(command: str) -> str:
    """What a command prints, standard error last, without blanks at the ends of lines."""
    if command == f"kubectl pecan watch {NAME}":
        text = terminal_frame()
    else:
        done = CliRunner().invoke(app, shlex.split(command.removesuffix(" | cat"))[2:], prog_name="kubectl pecan")
        text = done.stdout + done.stderr
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


@pytest.fixture
def stage(api: FakeApi, data: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    return Stage(api, data, here)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_screens_are_what_is_printed(stage: Stage, page: Path, command: str) -> None:
    SCENES[command](stage)
    wanted = printed(command)
    shown = dict(BLOCK.findall(page.read_text()))[command]
    if os.environ.get("PECAN_WRITE_SCREENS"):
        head = f"```console\n$ {command}\n"
        page.write_text(page.read_text().replace(head + shown + "```", head + wanted + "```"))
        return
    assert shown == wanted


def test_every_scene_is_shown() -> None:
    assert sorted(command for _, command in COMMANDS) == sorted(SCENES)


def test_exit_codes_are_explained() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGES[0].read_text(), re.MULTILINE)
    assert [(int(code), said) for code, said in rows] == [(int(code), said) for code, said in EXIT_CODES.items()]


def test_the_manifest_for_krew() -> None:
    manifest = yaml.safe_load((ROOT / "hack" / "krew" / "pecan.yaml").read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("Plugin", "pecan")
    spec = manifest["spec"]
    assert len(spec["shortDescription"]) <= 50
    for each in spec["platforms"]:
        kind, arch = each["selector"]["matchLabels"]["os"], each["selector"]["matchLabels"]["arch"]
        assert each["uri"].endswith(f"/{spec['version']}/kubectl-pecan-{kind}-{arch}.tar.gz")
        assert each["sha256"] == f"SHA256_{kind}_{arch}".upper()
        assert each["bin"] == "kubectl-pecan"
    project = (ROOT / "pyproject.toml").read_text()
    assert 'kubectl-pecan = "kubectl_pecan.main:main"' in project
